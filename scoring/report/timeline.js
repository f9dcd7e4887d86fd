// Scores over time: indicators as thin lines, their fusion thick, truth as shaded ground.

const MARGIN = { left: 38, right: 14, top: 12, bottom: 26 };
const HEIGHT = 220;
const timeline = byId("timeline");
let drawnWidth = 0;

function plotWidth(width) {
  return width - MARGIN.left - rightMargin(width);
}

function rightMargin(width) {
  return width >= 640 ? 104 : MARGIN.right; // room for the names of the lines
}

// Where a frame lies; a frame is as wide as its share of the video.
function frameX(frame, frames, width) {
  return MARGIN.left + ((frame + 0.5) / frames) * plotWidth(width);
}

function valueY(value, top, height = HEIGHT) {
  const share = Math.min(Math.max(value / top, 0), 1);
  return MARGIN.top + (1 - share) * (height - MARGIN.top - MARGIN.bottom);
}

// One point per frame, or the highest value per pixel where frames are narrower than that; null interrupts the line.
function linePath(values, x, y, columns) {
  const group = Math.max(1, Math.ceil(values.length / columns));
  let path = "";
  let pen = "M";
  for (let start = 0; start < values.length; start += group) {
    let best = null;
    for (let i = start; i < Math.min(start + group, values.length); i++) {
      if (values[i] !== null && (best === null || values[i] > values[best])) best = i;
    }
    if (best === null) {
      pen = "M";
      continue;
    }
    path += `${pen}${x(best).toFixed(1)} ${y(values[best]).toFixed(1)}`;
    pen = "L";
  }
  return path;
}

function ticks(top, count) {
  const raw = top / count;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((candidate) => candidate >= raw);
  return Array.from({ length: Math.floor(top / step + 1e-9) + 1 }, (_, i) => Number((i * step).toPrecision(6)));
}

function truthShapes(video, left, right, top, bottom) {
  const span = (right - left) / video.frames;
  return (video.truth ?? []).flatMap(([start, stop]) => {
    const [x, width] = [left + start * span, Math.max(1, (stop - start) * span)];
    return [
      shape("rect", { class: "truth", x, y: top, width, height: bottom - top }),
      shape("rect", { class: "truth-bar", x, y: bottom - 4, width, height: 4 }),
    ];
  });
}

function drawTimeline() {
  const [video, protocol, width] = [currentVideo(), currentProtocol(), timeline.clientWidth];
  drawnWidth = width;
  const bottom = HEIGHT - MARGIN.bottom;
  const right = width - rightMargin(width);
  const drawing = shape("svg", { viewBox: `0 0 ${width} ${HEIGHT}`, width, height: HEIGHT, "aria-hidden": "true" });
  drawing.append(...truthShapes(video, MARGIN.left, right, MARGIN.top, bottom));
  for (const value of ticks(protocol.top, 3)) {
    const y = valueY(value, protocol.top);
    drawing.append(
      shape("line", { class: "grid", x1: MARGIN.left, x2: right, y1: y, y2: y }),
      shape("text", { x: MARGIN.left - 6, y: y + 4, "text-anchor": "end" }, String(value)),
    );
  }
  const ends = ticks(video.frames - 1, Math.max(2, Math.floor(width / 130)));
  for (const frame of ends) {
    const x = frameX(frame, video.frames, width);
    drawing.append(
      shape("line", { class: "axis", x1: x, x2: x, y1: bottom, y2: bottom + 4 }),
      shape("text", { x, y: bottom + 18, "text-anchor": "middle" }, String(frame)),
    );
  }
  drawing.append(shape("line", { class: "axis", x1: MARGIN.left, x2: right, y1: bottom, y2: bottom }));
  if (width >= 640) drawing.append(shape("text", { x: right + 8, y: bottom + 18 }, "frame"));
  drawLines(drawing, video, protocol, width);
  drawThreshold(drawing, protocol, right);
  drawing.append(
    shape("line", { class: "cursor", y1: MARGIN.top, y2: bottom }),
    shape("circle", { class: "dot-fused", r: 5 }),
  );
  timeline.replaceChildren(drawing);
  timeline.setAttribute("aria-valuemax", video.frames - 1);
  moveCursor();
}

function drawLines(drawing, video, protocol, width) {
  const lines = video.lines[state.protocol];
  const x = (frame) => frameX(frame, video.frames, width);
  const y = (value) => valueY(value, protocol.top);
  for (const name of protocol.lines) {
    const path = linePath(lines[name], x, y, plotWidth(width));
    drawing.append(shape("path", { class: `line line-${lineClass(name)}`, d: path, "data-line": name }));
  }
  if (width >= 640) drawing.append(...endLabels(lines, protocol, width));
}

// Names beside the ends of their lines, pushed apart where they would lie on each other.
function endLabels(lines, protocol, width) {
  const labels = protocol.lines.map((name) => {
    const last = lines[name].findLast((value) => value !== null) ?? 0;
    return { text: words(name), kind: `text-${lineClass(name)}`, y: valueY(last, protocol.top) + 4 };
  });
  if (protocol.threshold !== null) {
    labels.push({ text: thresholdText(protocol), kind: "", y: valueY(protocol.threshold, protocol.top) + 4 });
  }
  labels.sort((a, b) => a.y - b.y);
  labels.forEach((label, i) => {
    if (i > 0) label.y = Math.max(label.y, labels[i - 1].y + 14);
  });
  const lowest = HEIGHT - MARGIN.bottom;
  labels.forEach((label, i) => {
    label.y = Math.min(label.y, lowest - 14 * (labels.length - 1 - i));
  });
  const x = width - rightMargin(width) + 8;
  return labels.map(({ text, kind, y }) => shape("text", { x, y, class: kind }, text));
}

function drawThreshold(drawing, protocol, right) {
  if (protocol.threshold === null) return;
  const y = valueY(protocol.threshold, protocol.top);
  drawing.append(shape("line", { class: "threshold", x1: MARGIN.left, x2: right, y1: y, y2: y }));
  if (right + MARGIN.right === drawnWidth) {
    drawing.append(shape("text", { class: "halo", x: right - 2, y: y - 5, "text-anchor": "end" }, thresholdText(protocol)));
  }
}

function thresholdText(protocol) {
  return `threshold ${number(protocol.threshold)}`;
}

function moveCursor() {
  const [video, frame, protocol] = [currentVideo(), shownFrame(), currentProtocol()];
  const x = frameX(frame, video.frames, drawnWidth);
  const fused = video.lines[state.protocol][FUSED][frame];
  const line = timeline.querySelector(".cursor");
  line.setAttribute("x1", x);
  line.setAttribute("x2", x);
  const dot = timeline.querySelector(".dot-fused");
  dot.setAttribute("visibility", fused === null ? "hidden" : "visible");
  dot.setAttribute("cx", x);
  dot.setAttribute("cy", valueY(fused ?? 0, protocol.top));
  timeline.setAttribute("aria-valuenow", frame);
  timeline.setAttribute("aria-valuetext", `frame ${frame}, score ${number(fused)}, ${verdict(video, frame)}`);
  drawReadout(video, frame);
}

function verdict(video, frame) {
  if (video.truth === null) return "no label";
  return isAnomalous(video, frame) ? "truly anomalous" : "truly normal";
}

function fusedFirst(names) {
  return [FUSED, ...names.filter((name) => name !== FUSED)];
}

function drawReadout(video, frame) {
  const lines = video.lines[state.protocol];
  const time = clock(video, frame);
  const truth = element("span", { class: `verdict ${isAnomalous(video, frame) ? "anomalous" : ""}` }, verdict(video, frame));
  const where = element("span", { class: "where" }, `Frame ${frame}${time ? `, ${time}` : ""}`);
  const values = fusedFirst(currentProtocol().lines).map((name) => {
    const kind = lineClass(name);
    const swatch = element("span", { class: `swatch text-${kind} ${name === FUSED ? "thick" : ""}` });
    return element("span", {}, swatch, `${words(name)} `, element("span", { class: "value" }, number(lines[name][frame])));
  });
  const nearest = element("span", { class: "note nearest" }, byId("readout").dataset.pictures ?? "");
  byId("readout").replaceChildren(where, truth, ...values, nearest);
}

// Pointing shows a frame, a click or a finger stays there, keys step.

function frameAt(event) {
  const box = timeline.getBoundingClientRect();
  const share = (event.clientX - box.left - MARGIN.left) / plotWidth(box.width);
  return Math.min(Math.max(Math.floor(share * currentVideo().frames), 0), currentVideo().frames - 1);
}

timeline.addEventListener("pointerdown", (event) => {
  stopPlaying();
  timeline.setPointerCapture(event.pointerId);
  change({ frame: frameAt(event), hover: null });
});
timeline.addEventListener("pointermove", (event) => {
  if (event.buttons) change({ frame: frameAt(event), hover: null });
  else if (event.pointerType === "mouse" && !playing) change({ hover: frameAt(event) });
});
timeline.addEventListener("pointerleave", () => change({ hover: null }));

const STEPS = { ArrowLeft: -1, ArrowRight: 1, ArrowDown: -1, ArrowUp: 1, PageDown: -16, PageUp: 16 };

timeline.addEventListener("keydown", (event) => {
  const last = currentVideo().frames - 1;
  let target = null;
  if (event.key in STEPS) target = shownFrame() + STEPS[event.key] * (event.shiftKey ? 10 : 1);
  else if (event.key === "Home") target = 0;
  else if (event.key === "End") target = last;
  else if (event.key === " ") togglePlaying();
  else return;
  event.preventDefault();
  if (target !== null) {
    stopPlaying();
    goTo(state.video, target);
  }
});

// Playing is a clock that moves the frame on.
let playing = null;

function togglePlaying() {
  if (playing) stopPlaying();
  else startPlaying();
}

function startPlaying() {
  if (state.frame >= currentVideo().frames - 1) goTo(state.video, 0);
  const pause = 1000 / Math.min(currentVideo().fps || 25, 30);
  playing = setInterval(() => {
    if (state.frame >= currentVideo().frames - 1) stopPlaying();
    else goTo(state.video, state.frame + 1);
  }, pause);
  showPlaying();
}

function stopPlaying() {
  clearInterval(playing);
  playing = null;
  showPlaying();
}

function showPlaying() {
  byId("play").textContent = playing ? "Pause" : "Play";
  byId("play").setAttribute("aria-pressed", playing ? "true" : "false");
}

onChange((before) => {
  if (before.video !== state.video || before.protocol !== state.protocol) drawTimeline();
  else moveCursor();
});
