// Controls, addresses such as #video-3-frame-57, and the first look.

function address(video, frame) {
  return `#video-${video}-frame-${frame}`;
}

// The place that the address names, as far as it exists.
function addressed() {
  const found = /^#video-(\d+)-frame-(\d+)$/.exec(location.hash);
  if (!found) return null;
  const video = Math.min(Number(found[1]), page.videos.length - 1);
  return { video, frame: Math.min(Number(found[2]), page.videos[video].frames - 1) };
}

function makeControls() {
  const choice = byId("choice");
  choice.append(...page.videos.map((video, index) => element("option", { value: index }, video.id)));
  choice.addEventListener("change", () => goTo(Number(choice.value), 0));
  byId("previous").addEventListener("click", () => goTo(state.video - 1, 0));
  byId("next").addEventListener("click", () => goTo(state.video + 1, 0));
  byId("play").addEventListener("click", togglePlaying);
  document.querySelectorAll(".protocols").forEach((place, group) => {
    place.append(element("legend", { class: "note" }, "Protocol"));
    for (const name of Object.keys(page.protocols)) {
      const radio = element("input", { type: "radio", name: `protocol-${group}`, value: name });
      radio.addEventListener("change", () => change({ protocol: name }));
      place.append(element("label", {}, radio, name));
    }
  });
}

function showControls() {
  byId("choice").value = String(state.video);
  byId("previous").disabled = state.video === 0;
  byId("next").disabled = state.video === page.videos.length - 1;
  for (const radio of document.querySelectorAll(".protocols input")) radio.checked = radio.value === state.protocol;
  const protocol = currentProtocol();
  const unit = protocol.per_video
    ? "Each score runs from 0 to 1 within its own video."
    : "Evidence: -log10 of the chance that normal video scores as high; thin lines are shares of the fused score.";
  const cut = protocol.highest > protocol.top ? ` Cut off at ${number(protocol.top)}; the highest is ${number(protocol.highest)}.` : "";
  const shaded = page.videos.some((video) => video.truth?.length) ? " Shaded: truly anomalous." : "";
  const maps = state.protocol === page.shown ? "" : ` Maps and regions are those of protocol ${page.shown}.`;
  const kept = page.step > 1 ? ` One frame in ${page.step} has pictures.` : "";
  byId("explained").textContent =
    `${unit}${cut}${shaded} Maps: how many times what training video shows at each place; of objects, how far from normal ones.${maps}${kept} Point at the timeline to look, click to stay; arrow keys step, Page Up and Down by 16, space plays.`;
  byId("overview-note").textContent = `fused score, protocol ${state.protocol}, one scale for all`;
}

onChange((before) => {
  if (before.video !== state.video || before.protocol !== state.protocol) {
    if (playing && before.video !== state.video) stopPlaying();
    showControls();
  }
});
addEventListener("hashchange", () => {
  const place = addressed();
  if (place) openMoment(place.video, place.frame);
});

function openMoment(video, frame) {
  stopPlaying();
  goTo(video, frame);
  byId("videos").scrollIntoView({ block: "start" });
}

function firstLook() {
  Object.assign(state, page.first, addressed());
  makeControls();
  showControls();
  drawTimeline();
  drawOverview();
  showPictures();
  new ResizeObserver(() => {
    if (timeline.clientWidth !== drawnWidth) drawTimeline();
    if (chartSide() !== side) drawCharts();
  }).observe(timeline);
  drawCharts();
  drawMoments();
}

firstLook();
