// The frame that is pointed at, its flow, its error maps, and the regions that were found.

const FINE = 480; // canvas pixels across at least, so that thin boxes stay thin
const panels = makePanels(byId("panels"));

function makePanels(place, small = false) {
  const made = [panel("frame", "Frame", boxKey(small)), panel("flow", "Flow", flowKey(small))];
  page.maps.forEach((map, index) => {
    const title = capital(words(map.name));
    made.push(panel(`map-${index}`, small ? title : `${title} map`, mapKey(map, small)));
  });
  for (const one of made) place.append(one.figure);
  return made;
}

function panel(kind, title, key = []) {
  const [height, width] = page.size;
  const canvas = element("canvas", { role: "img", "data-kind": kind, width, height });
  const caption = element("figcaption", {}, element("strong", {}, title), ...key);
  return { kind, title, canvas, figure: element("figure", {}, canvas, caption) };
}

function capital(text) {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

function drawPanels(made, shown) {
  const name = page.videos[shown.video].id;
  for (const one of made) {
    const drawn = drawPanel(one, shown);
    one.canvas.setAttribute("aria-label", `${one.title} of ${name}, frame ${shown.frame}${drawn ? "" : ": not kept"}`);
    one.canvas.dataset.frame = String(shown.frame);
  }
}

function drawPanel(one, shown) {
  if (one.kind === "frame") {
    drawBoxes(drawImage(one.canvas, shown.still, Math.ceil(FINE / shown.still.naturalWidth)), shown);
  } else if (one.kind === "flow") {
    drawImage(one.canvas, shown.flow);
  } else if (shown.maps) {
    drawHeat(one.canvas, shown, Number(one.kind.slice(4)));
  } else {
    drawImage(one.canvas, shown.still).clearRect(0, 0, one.canvas.width, one.canvas.height);
    return false;
  }
  return true;
}

function regionsAt(video, frame) {
  return page.videos[video].regions[frame] ?? [];
}

function isAlarm(score) {
  return page.region_threshold === null || score >= page.region_threshold;
}

// Alarms are thick boxes with their score, weaker regions thin ones; a dark rim keeps them visible on any ground.
function drawBoxes(context, shown) {
  const { canvas } = context;
  const [across, down] = [canvas.width / page.size[1], canvas.height / page.size[0]];
  const unit = canvas.width / FINE;
  for (const [x1, y1, x2, y2, score] of regionsAt(shown.video, shown.frame).toReversed()) {
    const thick = isAlarm(score) ? 3.5 : 1.75;
    for (const [width, colour] of [[thick + 2, "rgba(0, 0, 0, 0.7)"], [thick, "#ffd60a"]]) {
      Object.assign(context, { lineWidth: width * unit, strokeStyle: colour });
      context.strokeRect(x1 * across, y1 * down, (x2 - x1) * across, (y2 - y1) * down);
    }
    if (isAlarm(score)) drawScore(context, x1 * across, y1 * down, number(score), unit);
  }
}

function drawScore(context, x, y, text, unit) {
  context.font = `600 ${Math.round(17 * unit)}px system-ui, sans-serif`;
  const [width, height] = [context.measureText(text).width + 8 * unit, 22 * unit];
  const left = Math.max(0, Math.min(x, context.canvas.width - width));
  const top = Math.max(0, y - height);
  context.fillStyle = "rgba(0, 0, 0, 0.8)";
  context.fillRect(left, top, width, height);
  context.fillStyle = "#ffd60a";
  context.fillText(text, left + 4 * unit, top + 16.5 * unit);
}

function boxKey(small) {
  if (small || !page.videos.some((video) => Object.keys(video.regions).length)) return [];
  return [page.region_threshold === null ? "boxes: regions" : `boxes: regions, thick from ${number(page.region_threshold)}`];
}

// Keys: what colours mean.

function flowKey(small) {
  if (small) return [];
  const size = 44;
  const context = surface(size, size);
  context.canvas.setAttribute("class", "wheel");
  context.canvas.setAttribute("aria-hidden", "true");
  const pixels = context.createImageData(size, size);
  for (let i = 0; i < size * size; i++) {
    const [x, y] = [(i % size) - size / 2 + 0.5, Math.floor(i / size) - size / 2 + 0.5];
    const length = Math.hypot(x, y) / (size / 2);
    pixels.data.set([...wheelColour(Math.atan2(y, x), Math.min(length, 1)), length <= 1 ? 255 : 0], 4 * i);
  }
  context.putImageData(pixels, 0, 0);
  return [context.canvas, `up to ${page.flow_full} px per frame`];
}

function wheelColour(angle, strength) {
  return [5, 3, 1].map((shift) => {
    const k = (shift + ((angle * 3) / Math.PI + 6)) % 6;
    return Math.round(255 * (1 - strength * Math.max(0, Math.min(k, 4 - k, 1))));
  });
}

function mapKey(map, small) {
  if (small) return [];
  const context = surface(page.heat.length, 1);
  context.canvas.setAttribute("class", "bar");
  context.canvas.setAttribute("aria-hidden", "true");
  page.heat.forEach((colour, i) => {
    context.fillStyle = `rgb(${colour.join()})`;
    context.fillRect(i, 0, 1, 1);
  });
  const most = 2 ** (map.full / page.steps_per_doubling);
  return [context.canvas, `1 to ${most < 10 ? most.toFixed(1) : most.toFixed(0)} × normal`];
}

// Only the newest request is drawn: decoding may finish in another order.
let newest = 0;

async function showPictures() {
  const request = ++newest;
  const shown = await pictures(state.video, shownFrame());
  if (request !== newest) return;
  drawPanels(panels, shown);
  const note = shown.frame === shownFrame() ? "" : ` (pictures: frame ${shown.frame}, the nearest kept)`;
  byId("readout").dataset.pictures = note;
  for (const node of byId("readout").querySelectorAll(".nearest")) node.textContent = note;
  document.documentElement.dataset.milliseconds ??= String(performance.now()); // since the page was asked for
  document.documentElement.dataset.ready = `${shown.video}-${shown.frame}`;
  for (const step of [1, 2, 3]) prefetch(shown.video, shownFrame() + step);
}

function prefetch(video, frame) {
  if (frame < page.videos[video].frames) pictures(video, frame);
}

onChange(() => requestAnimationFrame(showPictures));
