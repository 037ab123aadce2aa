// The gallery of cases and the dialog of one painting.
"use strict";
(() => {
  const { board, element, format, thumbnail } = window.ARTQUANT;
  const PAGE = 36;
  const field = (name) => document.querySelector(`[data-case="${name}"]`);
  const gallery = document.querySelector("[data-gallery]");
  const more = document.querySelector("[data-more]");
  let chosen = [];
  let shown = 0;

  // Where a model predicts on another scale than the dataset's, an error is a difference of ranks instead of scores.
  function errors(model) {
    const scored = board.ids.map((_, place) => place).filter((place) => model.predictions[place] !== null);
    const found = new Array(board.ids.length).fill(null);
    if (model.onScale) {
      for (const place of scored) found[place] = model.predictions[place] - board.truth[place];
      return found;
    }
    const span = Math.max(1, scored.length - 1);
    const ranked = [...scored].sort((a, b) => model.predictions[a] - model.predictions[b]);
    ranked.forEach((place, rank) => { found[place] = rank / span; });
    scored.forEach((place, rank) => { found[place] -= rank / span; });  // the board's paintings are in the order of their human scores
    return found;
  }

  const ORDERS = {
    worst: (e) => (a, b) => Math.abs(e[b]) - Math.abs(e[a]),
    best: (e) => (a, b) => Math.abs(e[a]) - Math.abs(e[b]),
    high: (e) => (a, b) => e[b] - e[a],
    low: (e) => (a, b) => e[a] - e[b],
    liked: () => (a, b) => b - a,
    disliked: () => (a, b) => a - b,
    unscored: () => (a, b) => a - b,
  };

  function select() {
    const model = board.models[Number(field("model").value)];
    const order = field("order").value;
    const words = field("text").value.trim().toLocaleLowerCase();
    const category = field("category").value;
    const found = model ? errors(model) : [];
    chosen = board.ids.map((_, place) => place).filter((place) => {
      const scored = found[place] !== null && found[place] !== undefined;
      if (order === "unscored" ? scored : !scored && order !== "liked" && order !== "disliked") return false;
      if (category !== "" && board.category[place] !== Number(category)) return false;
      return board.ids[place].toLocaleLowerCase().includes(words);
    });
    chosen.sort(ORDERS[order](found));
    shown = 0;
    gallery.replaceChildren();
    show(model, found);
    more.onclick = () => show(model, found);
    document.querySelector("[data-case-count]").textContent = `${chosen.length.toLocaleString("en")} of ${board.ids.length.toLocaleString("en")} paintings`;
  }

  function show(model, found) {
    for (const place of chosen.slice(shown, shown + PAGE)) {
      const label = element("div", { class: "label" }, element("b", {}, board.ids[place]), element("span", {}, `people ${format(board.truth[place])}`));
      if (model && found[place] !== null) {
        const error = found[place];
        label.append(element("span", {}, `model ${format(model.predictions[place])}`));
        if (model.onScale) label.append(element("span", { class: error > 0 ? "over" : "under" }, `${error > 0 ? "+" : ""}${format(error)}`));
      }
      const button = element("button", { class: "thumb", type: "button" }, element("div", { class: "mat" }, thumbnail(place)), label);
      button.addEventListener("click", () => open(place));
      gallery.append(element("li", {}, button));
    }
    shown = Math.min(shown + PAGE, chosen.length);
    more.hidden = shown >= chosen.length;
  }

  board.models.forEach((model, index) => field("model").append(new Option(model.name, index)));
  board.categories.forEach((name, index) => field("category").append(new Option(name, index)));
  document.querySelector("[data-case-category]").hidden = !board.categories.length;
  for (const name of ["model", "order", "category"]) field(name).addEventListener("change", select);
  field("text").addEventListener("input", select);

  // Texts are in several scripts beside the script of the board's numbers. Each calls ARTQUANT_TEXTS with its part.
  const parts = new Map();
  const source = document.querySelector('script[src^="data/"]').getAttribute("src").slice(0, -".js".length);
  window.ARTQUANT_TEXTS = (part, texts) => parts.get(part).resolve(texts);
  function texts(place) {
    const part = Math.floor(place / board.part);
    if (!parts.has(part)) {
      let resolve;
      const promise = new Promise((done) => { resolve = done; });
      parts.set(part, { promise, resolve });
      const script = element("script", { src: `${source}-${part}.js` });
      script.addEventListener("error", () => resolve([]));
      document.head.append(script);
    }
    return parts.get(part).promise.then((all) => all[place % board.part] ?? {});
  }

  const dialog = document.getElementById("painting");
  const previews = new Set(board.previews);
  let now = -1;
  let around = [];

  function open(place) {
    around = chosen.includes(place) ? chosen : board.ids.map((_, index) => index);
    fill(place);
    if (!dialog.open) dialog.showModal();
  }
  window.ARTQUANT.open = open;

  function fill(place) {
    now = place;
    document.getElementById("painting-h").textContent = board.ids[place];
    const frame = dialog.querySelector("[data-frame]");
    const name = board.pictures[place];
    if (name) {
      const size = previews.has(place) ? "previews" : "thumbs";
      frame.replaceChildren(element("img", { src: `pictures/${board.slug}/${size}/${name}.jpg`, alt: `Painting ${board.ids[place]}` }));
    } else {
      frame.replaceChildren(element("p", { class: "blank" }, "no picture"));
    }
    const facts = dialog.querySelector("[data-facts]");
    const category = board.categories[board.category[place]];
    const head = element("p", { class: "big" }, format(board.truth[place]), element("small", {}, category ? `human score · ${category}` : "human score"));
    const rows = board.models.map((model) => {
      const prediction = model.predictions[place];
      const error = prediction === null || !model.onScale ? null : prediction - board.truth[place];
      const sign = error === null ? "–" : `${error > 0 ? "+" : ""}${format(error)}`;
      return element("tr", {}, element("th", { scope: "row" }, model.name), element("td", { class: "num" }, format(prediction)), element("td", { class: `num ${error > 0 ? "over" : error < 0 ? "under" : ""}` }, sign));
    });
    const header = element("tr", {}, ...["Model", "Score", "Error"].map((word, index) => element("th", { scope: "col", class: index ? "num" : "" }, word)));
    const table = element("table", {}, element("caption", { class: "sr" }, "Predictions"), element("thead", {}, header), element("tbody", {}, ...rows));
    facts.replaceChildren(head, table);
    const [before, after] = dialog.querySelectorAll("[data-step]");
    // Not `disabled`: a disabled button loses the focus, and the dialog then gets no arrow keys.
    before.setAttribute("aria-disabled", around.indexOf(place) <= 0);
    after.setAttribute("aria-disabled", around.indexOf(place) >= around.length - 1);
    dialog.scrollTop = 0;
    texts(place).then((found) => { if (now === place) facts.append(...words(found)); });
  }

  function words(found) {
    const made = [];
    for (const [level, text] of Object.entries(found.description ?? {})) {
      if (text) made.push(element("h3", {}, level[0].toUpperCase() + level.slice(1)), element("p", {}, text));
    }
    if (found.comment) made.push(element("h3", {}, "A rater's comment"), element("p", {}, found.comment));
    for (const [index, own] of Object.entries(found.models ?? {})) {
      const name = board.models[Number(index)].name;
      if (own.levels) made.push(element("h3", {}, `${name}: levels`), levels(own.levels));
      if (own.description) made.push(element("h3", {}, `${name}: description`), element("p", {}, own.description));
      if (own.reason) made.push(element("h3", {}, `${name}: no score`), element("p", {}, own.reason));
      if (own.reply) made.push(element("h3", {}, `${name}: reply`), element("p", {}, own.reply));
    }
    return made;
  }

  function levels(shares) {
    const grid = element("div", { class: "levels", role: "list" });
    for (const [word, share] of shares) {
      const fill = element("div", { class: "fill" });
      fill.style.width = `${100 * share}%`;
      const item = element("div", { role: "listitem", class: "sr" }, `${word}: ${(100 * share).toFixed(1)} %`);
      grid.append(element("span", { "aria-hidden": "true" }, word), element("div", { class: "track", "aria-hidden": "true" }, fill), element("span", { class: "num", "aria-hidden": "true" }, `${(100 * share).toFixed(1)} %`), item);
    }
    return grid;
  }

  function step(by) {
    const place = around[around.indexOf(now) + by];
    if (place !== undefined) fill(place);
  }
  dialog.querySelector("[data-close]").addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });  // a click on the backdrop
  dialog.addEventListener("keydown", (event) => {
    if (event.key === "ArrowLeft") step(-1);
    if (event.key === "ArrowRight") step(1);
  });
  for (const button of dialog.querySelectorAll("[data-step]")) button.addEventListener("click", () => step(Number(button.dataset.step)));

  select();
})();
