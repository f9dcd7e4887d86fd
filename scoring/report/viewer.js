// The frame that is pointed at, its flow, its error maps, and the regions that were found.

const BOX_SCALE = 3; // canvas pixels per stored pixel, so that thin boxes stay thin
const MOST_BOXES = 12;
const panels = makePanels(byId("panels"));

function makePanels(place, small = false) {
  const made = [panel("frame", "Frame"), panel("flow", "Flow", flowKey(small))];
  page.maps.forEach((map, index) => made.push(panel(`map-${index}`, `${capital(words(map.name))} error`, mapKey(map, small))));
  for (const one of made) place.append(one.figure);
  return made;
}

function panel(kind, title, key = []) {
  const canvas = element("canvas", { role: "img", "data-kind": kind });
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
    drawBoxes(drawImage(one.canvas, shown.still, BOX_SCALE), shown);
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
  return page.videos[video].regions.filter((region) => region[0] === frame);
}

function drawBoxes(context, shown) {
  const scale = [context.canvas.width / page.size[1], context.canvas.height / page.size[0]];
  for (const [, x1, y1, x2, y2] of regionsAt(shown.video, shown.frame).slice(0, MOST_BOXES)) {
    const box = [x1 * scale[0], y1 * scale[1], (x2 - x1) * scale[0], (y2 - y1) * scale[1]];
    for (const [width, colour] of [[6, "rgba(0, 0, 0, 0.75)"], [2.5, "#ffd60a"]]) {
      Object.assign(context, { lineWidth: width, strokeStyle: colour });
      context.strokeRect(...box);
    }
  }
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
  return [context.canvas, `full colour: ${page.flow_full} px per frame`];
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
  return ["1×", context.canvas, `${most < 10 ? most.toFixed(1) : most.toFixed(0)}× that of training`];
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
  document.documentElement.dataset.ready = `${shown.video}-${shown.frame}`;
  for (const step of [1, 2, 3]) prefetch(shown.video, shownFrame() + step);
}

function prefetch(video, frame) {
  if (frame < page.videos[video].frames) pictures(video, frame);
}

onChange(() => requestAnimationFrame(showPictures));
