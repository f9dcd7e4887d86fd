// Pictures lie in the page as lines of base64 and are decoded when they are looked at.

const MOST_DECODED = 240;
const lineCache = new Map(); // block -> its lines, of the videos looked at last
const decoded = new Map(); // address -> promise of an image, the one used last at the end

function remember(map, key, make, most) {
  const value = map.get(key) ?? make();
  map.delete(key);
  map.set(key, value);
  if (map.size > most) map.delete(map.keys().next().value);
  return value;
}

function pictureLines(kind, video) {
  const block = `${kind}-${video}`;
  return remember(lineCache, block, () => (byId(block)?.textContent ?? "").split("\n"), 12);
}

// Every frame, or one in a few where the video is long: the nearest one that has pictures.
function nearestKept(video, frame) {
  const kept = page.videos[video].kept;
  if (kept === null) return { frame, row: frame };
  let [low, high] = [0, kept.length - 1];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (kept[middle] < frame) low = middle + 1;
    else high = middle;
  }
  const row = low > 0 && frame - kept[low - 1] <= kept[low] - frame ? low - 1 : low;
  return { frame: kept[row], row };
}

async function decode(data) {
  const image = new Image();
  image.src = `data:image/webp;base64,${data}`;
  await image.decode();
  return image;
}

// A promise of the picture, or of null where there is none of that kind.
function picture(kind, video, row) {
  return remember(
    decoded,
    `${kind}-${video}-${row}`,
    () => {
      const data = pictureLines(kind, video)[row];
      return data ? decode(data) : Promise.resolve(null);
    },
    MOST_DECODED,
  );
}

async function pictures(video, frame) {
  const kept = nearestKept(video, frame);
  const [still, flow, maps] = await Promise.all(["frame", "flow", "maps"].map((kind) => picture(kind, video, kept.row)));
  return { video, frame: kept.frame, still, flow, maps };
}

function surface(width, height) {
  const canvas = element("canvas", { width, height });
  return canvas.getContext("2d", { willReadFrequently: true });
}

function fit(canvas, image, factor = 1) {
  const [width, height] = [image.naturalWidth * factor, image.naturalHeight * factor];
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  return context;
}

function drawImage(canvas, image, factor = 1) {
  const context = fit(canvas, image, factor);
  context.drawImage(image, 0, 0, canvas.width, canvas.height);
  return context;
}

// The frame in grey and over it how many times more error there is than in training: clear where it is not more.
function drawHeat(canvas, shown, index) {
  const context = fit(canvas, shown.still);
  const [width, height] = [canvas.width, canvas.height];
  const ground = surface(width, height);
  ground.drawImage(shown.still, 0, 0, width, height);
  const pixels = ground.getImageData(0, 0, width, height);
  const heat = surface(width, height);
  const rows = shown.maps.naturalHeight / page.maps.length;
  heat.imageSmoothingQuality = "high";
  heat.drawImage(shown.maps, 0, rows * index, shown.maps.naturalWidth, rows, 0, 0, width, height);
  mixHeat(pixels.data, heat.getImageData(0, 0, width, height).data, page.maps[index].full);
  context.putImageData(pixels, 0, 0);
}

function mixHeat(pixels, heat, full) {
  for (let i = 0; i < pixels.length; i += 4) {
    const strength = Math.min(1, heat[i] / full);
    const alpha = Math.min(0.8, 1.5 * strength);
    const grey = 0.8 * ((pixels[i] + pixels[i + 1] + pixels[i + 2]) / 3);
    const colour = page.heat[Math.round(strength * 255)];
    for (let c = 0; c < 3; c++) pixels[i + c] = grey * (1 - alpha) + colour[c] * alpha;
  }
}
