// The data, what is shown now, and how elements are made: text only ever becomes text, never markup.

const page = JSON.parse(document.getElementById("page-data").textContent);
const FUSED = "fused";
const state = { video: 0, frame: 0, hover: null, protocol: page.shown };
const listeners = [];

function onChange(listener) {
  listeners.push(listener);
}

function change(update) {
  const before = { ...state };
  Object.assign(state, update);
  if (Object.keys(state).some((key) => state[key] !== before[key])) {
    for (const listener of listeners) listener(before);
  }
}

function byId(id) {
  return document.getElementById(id);
}

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children); // strings become text nodes
  return node;
}

function element(name, attributes = {}, ...children) {
  return fill(document.createElement(name), attributes, children);
}

function shape(name, attributes = {}, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);
}

function shownFrame() {
  return state.hover ?? state.frame;
}

function currentVideo() {
  return page.videos[state.video];
}

function currentProtocol() {
  return page.protocols[state.protocol];
}

function goTo(video, frame) {
  const place = Math.min(Math.max(video, 0), page.videos.length - 1);
  const last = page.videos[place].frames - 1;
  change({ video: place, frame: Math.min(Math.max(frame, 0), last), hover: null });
}

function lineClass(name) {
  if (name === FUSED) return "fused";
  return String(currentProtocol().lines.indexOf(name) % 6); // as many colours as the style has
}

function number(value) {
  return value === null || value === undefined ? "–" : value.toFixed(2);
}

function isAnomalous(video, frame) {
  return video.truth !== null && video.truth.some(([start, stop]) => start <= frame && frame < stop);
}

function words(name) {
  return name.replaceAll("_", " ");
}

function clock(video, frame) {
  if (!video.fps) return "";
  const seconds = frame / video.fps;
  const whole = Math.floor(seconds);
  const [minutes, rest] = [Math.floor(whole / 60), whole % 60];
  return `${minutes}:${String(rest).padStart(2, "0")}.${Math.floor((seconds - whole) * 10)}`;
}
