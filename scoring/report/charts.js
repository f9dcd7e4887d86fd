// Receiver operating characteristic and precision-recall, and every video as a strip.

const LARGEST = 430;
const FRAME = { left: 46, right: 12, top: 8, bottom: 42 };
let side = 0;

function drawCharts() {
  const { curves, anomalous, threshold } = currentProtocol();
  if (!curves.length) {
    byId("charts").replaceChildren(element("p", { class: "note" }, "No curves: they need labels of both classes."));
    return;
  }
  side = chartSide();
  const labelled = (key) => curves.map((curve) => ({ name: curve.name, points: curve[key], value: null }));
  const roc = labelled("roc").map((curve, i) => ({ ...curve, value: curves[i].auc }));
  const recall = labelled("precision_recall").map((curve, i) => ({ ...curve, value: curves[i].average_precision }));
  const at = curves.at(-1).at_threshold;
  const marks = at && {
    roc: [at.false_positive_rate, at.true_positive_rate],
    recall: at.precision === null ? null : [at.true_positive_rate, at.precision],
  };
  byId("charts").replaceChildren(
    chart("Receiver operating characteristic", "AUC", roc, ["false alarms, share of normal frames", "found, share of anomalous"],
      [[0, 0], [1, 1]], marks?.roc, threshold),
    chart("Precision and recall", "AP", recall, ["recall, share of anomalous frames found", "precision"],
      [[0, anomalous], [1, anomalous]], marks?.recall, threshold),
  );
}

function chartSide() {
  return Math.min(LARGEST, byId("charts").clientWidth);
}

function chart(title, measure, curves, axes, chance, mark, threshold) {
  const x = (value) => FRAME.left + value * (side - FRAME.left - FRAME.right);
  const y = (value) => FRAME.top + (1 - value) * (side - FRAME.top - FRAME.bottom);
  const told = curves.map((curve) => `${words(curve.name)} ${measure} ${curve.value.toFixed(3)}`).join(", ");
  const drawing = shape("svg", { viewBox: `0 0 ${side} ${side}`, width: side, height: side, role: "img", "aria-label": `${title}: ${told}` });
  for (const value of [0, 0.25, 0.5, 0.75, 1]) {
    drawing.append(
      shape("line", { class: "grid", x1: x(0), x2: x(1), y1: y(value), y2: y(value) }),
      shape("line", { class: "grid", x1: x(value), x2: x(value), y1: y(0), y2: y(1) }),
    );
    if (value * 2 === Math.round(value * 2)) {
      drawing.append(
        shape("text", { x: x(value), y: y(0) + 15, "text-anchor": value === 1 ? "end" : "middle" }, String(value)),
        shape("text", { x: x(0) - 6, y: y(value) + 4, "text-anchor": "end" }, String(value)),
      );
    }
  }
  drawing.append(
    shape("text", { x: x(0.5), y: side - 6, "text-anchor": "middle" }, axes[0]),
    shape("text", { x: 0, y: 0, "text-anchor": "middle", transform: `translate(12 ${y(0.5)}) rotate(-90)` }, axes[1]),
    shape("path", { class: "threshold", d: `M${x(chance[0][0])} ${y(chance[0][1])}L${x(chance[1][0])} ${y(chance[1][1])}` }),
  );
  for (const { name, points } of curves) {
    const path = points[0].map((value, i) => `${i ? "L" : "M"}${x(value).toFixed(1)} ${y(points[1][i]).toFixed(1)}`).join("");
    drawing.append(shape("path", { class: `line line-${lineClass(name)}`, d: path }));
  }
  if (mark) {
    drawing.append(shape("circle", { class: "dot-fused", cx: x(mark[0]), cy: y(mark[1]), r: 6 }));
  }
  const byName = new Map(curves.map((curve) => [curve.name, curve]));
  const names = fusedFirst([...byName.keys()]).map((name) => {
    const curve = byName.get(name);
    const swatch = element("span", { class: `swatch text-${lineClass(curve.name)} ${curve.name === FUSED ? "thick" : ""}` });
    return element("span", {}, swatch, `${words(curve.name)} `, element("span", { class: "value" }, curve.value.toFixed(3)));
  });
  const legend = element("p", { class: "legend" }, element("span", { class: "note" }, measure), ...names);
  const notes = [`dashed: chance`, ...(mark ? [`dot: threshold ${number(threshold)}`] : [])].join("; ");
  return element("div", { class: "chart" }, element("h3", {}, title), legend, drawing, element("p", { class: "note" }, notes));
}

function stripCaption(video) {
  if (video.truth === null) return "no labels";
  if (!video.truth.length) return "all normal";
  const value = video.auc[state.protocol];
  return value === null ? "all anomalous" : `AUC ${value.toFixed(2)}`;
}

function drawOverview() {
  const place = byId("overview");
  const protocol = currentProtocol();
  const [width, height] = [300, 44];
  const strips = page.videos.map((video, index) => {
    const drawing = shape("svg", { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", "aria-hidden": "true" });
    drawing.append(...truthShapes(video, 0, width, 0, height));
    const values = video.lines[state.protocol][FUSED];
    const x = (frame) => ((frame + 0.5) / video.frames) * width;
    const y = (value) => 2 + (1 - Math.min(Math.max(value / protocol.top, 0), 1)) * (height - 3);
    const path = linePath(values, x, y, width);
    drawing.append(shape("path", { class: "line line-fused", d: path, "vector-effect": "non-scaling-stroke" }));
    if (protocol.threshold !== null) {
      const level = y(protocol.threshold);
      drawing.append(shape("line", { class: "threshold", x1: 0, x2: width, y1: level, y2: level }));
    }
    const caption = element("span", {}, element("span", { class: "id" }, video.id), element("span", {}, stripCaption(video)));
    const strip = element("button", { type: "button", class: "strip", title: video.id }, caption, drawing);
    strip.addEventListener("click", () => openStrip(index));
    return strip;
  });
  place.replaceChildren(...strips);
  markStrip();
}

// Opens a video at its highest score: that is what one wants to see of it.
function openStrip(index) {
  const values = page.videos[index].lines[state.protocol][FUSED];
  let best = 0;
  values.forEach((value, i) => {
    if (value !== null && (values[best] === null || value > values[best])) best = i;
  });
  openMoment(index, best);
}

function markStrip() {
  [...byId("overview").children].forEach((strip, index) => {
    strip.setAttribute("aria-current", index === state.video ? "true" : "false");
  });
}

onChange((before) => {
  if (before.protocol !== state.protocol) {
    drawCharts();
    drawOverview();
  } else if (before.video !== state.video) {
    markStrip();
  }
});
