// The worst false alarms and misses as pictures; each leads to its place on the timeline.

const KINDS = {
  false_alarms: ["False alarms", "Normal frames with the highest fused scores, a clip apart."],
  misses: ["Weakest detections and misses", "Anomalous stretches whose highest fused score is lowest, at that frame."],
  highest_unlabelled: ["Highest scores", "Videos without labels: their highest fused scores, a clip apart."],
};

function drawMoments() {
  const place = byId("moments");
  const kinds = Object.entries(KINDS).filter(([kind]) => page.moments[kind].length);
  if (!kinds.length) place.append(element("p", { class: "note" }, "None to show."));
  if (kinds.length === 1 && kinds[0][0] === "highest_unlabelled") {
    byId("mistakes").querySelector("h2").textContent = "Highest scores";
  }
  const threshold = page.protocols[page.shown].threshold;
  const watcher = new IntersectionObserver(fillSeen, { rootMargin: "300px" });
  for (const [kind, [title, said]] of kinds) {
    const cards = page.moments[kind].map((moment) => momentCard(moment, watcher));
    place.append(
      element("h3", {}, title),
      element("p", { class: "note" }, `${said} Protocol ${page.shown}${threshold === null ? "" : `, threshold ${number(threshold)}`}.`),
      element("div", { class: "moments", "data-kind": kind }, ...cards),
    );
  }
}

function momentCard(moment, watcher) {
  const video = page.videos[moment.video];
  const tag = momentTag(moment);
  const stretch = moment.stretch ? `; anomalous from ${moment.stretch[0]} to ${moment.stretch[1] - 1}` : "";
  const quad = element("div", { class: page.maps.length > 2 ? "quad many" : "quad" });
  const card = element("a", { class: "moment", href: address(moment.video, moment.frame) }, quad,
    element("span", { class: "title" }, `${video.id}, frame ${moment.frame}`),
    element("span", {}, `: score ${number(moment.score)}${tag}${stretch}`));
  card.addEventListener("click", () => openMoment(moment.video, moment.frame)); // also where the address is this one already
  card.moment = { ...moment, panels: makePanels(quad, true) };
  watcher.observe(card);
  return card;
}

function momentTag(moment) {
  const threshold = page.protocols[page.shown].threshold;
  if (threshold === null) return "";
  const above = moment.score >= threshold;
  if (moment.stretch) return above ? ", found" : ", missed";
  return above ? ", above the threshold" : ", below the threshold";
}

async function fillSeen(entries, watcher) {
  for (const { isIntersecting, target } of entries) {
    if (!isIntersecting) continue;
    watcher.unobserve(target);
    drawPanels(target.moment.panels, await pictures(target.moment.video, target.moment.frame));
  }
}
