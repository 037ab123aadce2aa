// Draws the scatter plots, the calibration and the error against quality on canvases, from the board's numbers.
"use strict";
window.ARTQUANT = (() => {
  const board = window.ARTQUANT_BOARD;
  const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  let colours = 0;  // number of colours for models; further models repeat them with another pattern of line
  while (color(`--series-${colours}`)) colours++;
  const modelColor = (index) => color(`--series-${index % colours}`);
  const PATTERNS = [["solid", []], ["dashed", [6, 4]], ["dotted", [2, 3]]];
  const modelPattern = (index) => PATTERNS[Math.floor(index / colours) % PATTERNS.length];
  const HEXAGON = 5;  // distance in CSS pixels from the middle of a hexagon of a density plot to its corners
  const format = (value, digits = 2) => (value === null || value === undefined ? "–" : value.toFixed(digits).replace("-", "−"));
  const redraws = [];

  function element(tag, attributes = {}, ...children) {
    const made = document.createElement(tag);
    for (const [name, content] of Object.entries(attributes)) {
      if (name === "class") made.className = content;
      else made.setAttribute(name, content);
    }
    made.append(...children);  // strings are appended as text, never read as HTML
    return made;
  }

  function thumbnail(place) {
    const name = board.pictures[place];
    if (!name) return element("span", { class: "blank" }, board.ids[place]);
    return element("img", { src: `pictures/${board.slug}/thumbs/${name}.jpg`, alt: "", loading: "lazy", decoding: "async" });
  }

  // Gives a canvas as many pixels as the screen has, and calls `draw` with its size in CSS pixels.
  function surface(canvas, draw) {
    const paint = () => {
      const box = canvas.getBoundingClientRect();
      if (!box.width) return;
      const ratio = window.devicePixelRatio || 1;
      canvas.width = Math.round(box.width * ratio);
      canvas.height = Math.round(box.height * ratio);
      const pen = canvas.getContext("2d");
      pen.scale(ratio, ratio);
      draw(pen, box.width, box.height);
    };
    redraws.push(paint);
    // A canvas that is out of sight is drawn when the reader scrolls near it.
    const seen = new IntersectionObserver((entries) => {
      if (entries.some((entry) => entry.isIntersecting)) { paint(); seen.disconnect(); }
    }, { rootMargin: "300px" });
    seen.observe(canvas);
    return paint;
  }

  function ticks(low, high, count = 5) {
    const rough = (high - low) / count;
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= rough);
    const found = [];
    for (let value = Math.ceil(low / step) * step; value <= high + step / 1e6; value += step) found.push(Math.round(value / step) * step);
    return found;
  }

  function frame(pen, width, height, x, y, labels) {
    const inner = { left: 38, right: width - 10, top: 10, bottom: height - 30 };
    const toX = (value) => inner.left + (inner.right - inner.left) * (value - x[0]) / (x[1] - x[0]);
    const toY = (value) => inner.bottom - (inner.bottom - inner.top) * (value - y[0]) / (y[1] - y[0]);
    pen.font = `11px ${getComputedStyle(document.body).fontFamily}`;
    pen.fillStyle = color("--soft");
    pen.strokeStyle = color("--hair");
    pen.lineWidth = 1;
    pen.textAlign = "right";
    pen.textBaseline = "middle";
    for (const value of ticks(...y)) {
      pen.beginPath(); pen.moveTo(inner.left, toY(value)); pen.lineTo(inner.right, toY(value)); pen.stroke();
      pen.fillText(String(+value.toFixed(6)).replace("-", "−"), inner.left - 6, toY(value));
    }
    pen.textAlign = "center";
    pen.textBaseline = "top";
    if (labels) for (const value of ticks(...x)) pen.fillText(String(+value.toFixed(6)).replace("-", "−"), toX(value), inner.bottom + 7);
    return { inner, toX, toY };
  }

  function extent(values, include) {
    let [low, high] = include;
    for (const value of values) if (value !== null) { low = Math.min(low, value); high = Math.max(high, value); }
    if (low === high) { low -= 1; high += 1; }
    const margin = 0.03 * (high - low);
    return [low - margin, high + margin];
  }

  function card(holder, model, said) {
    const canvas = element("canvas", { role: "img", "aria-label": said });
    const note = model.n ? `SROCC ${format(model.srocc, 3)}` : "nothing scored";
    const figure = element("figure", { class: "plot" }, element("figcaption", {}, element("strong", { title: model.name }, model.name), element("span", {}, note)), canvas);
    holder.append(figure);
    return [figure, canvas];
  }

  const known = board.truth.filter((value) => value !== null);
  const truthRange = extent(known, [known[0], known[0]]);

  // The dashed line on which prediction and human score are equal, with an edge so that it is seen on dark hexagons.
  function identity(pen, map, [low, high]) {
    pen.save();
    pen.setLineDash([4, 4]);
    for (const [name, width] of [["--sheet", 3], ["--ink", 1.2]]) {
      pen.strokeStyle = color(name); pen.lineWidth = width; pen.beginPath();
      pen.moveTo(map.toX(low), map.toY(low)); pen.lineTo(map.toX(high), map.toY(high)); pen.stroke();
    }
    pen.restore();
  }

  // Counts points in hexagons and fills these by their counts, on a logarithmic scale. Returns the largest count.
  function hexagons(pen, points) {
    const across = HEXAGON * Math.sqrt(3), up = HEXAGON * 1.5, cells = new Map();
    for (const [x, y] of points) {
      // The middles of the hexagons stand in rows; those of every other row are moved by half a hexagon. The nearest
      // middle is in the row below the point or in the one above it.
      const rows = [Math.floor(y / up), Math.floor(y / up) + 1].map((row) => {
        const shift = row % 2 ? 0.5 : 0, column = Math.round(x / across - shift);
        return [(column + shift) * across, row * up];
      });
      const [near, far] = rows.map(([a, b]) => (a - x) ** 2 + (b - y) ** 2);
      const middle = rows[near <= far ? 0 : 1], name = middle.join();
      const cell = cells.get(name);
      if (cell) cell.count++; else cells.set(name, { middle, count: 1 });
    }
    const most = Math.max(1, ...[...cells.values()].map(({ count }) => count));
    const stops = [0, 1, 2, 3].map((stop) => color(`--density-${stop}`).match(/[0-9a-f]{2}/gi).map((part) => parseInt(part, 16)));
    for (const { middle: [x, y], count } of cells.values()) {
      const place = most > 1 ? 3 * Math.log(count) / Math.log(most) : 0, stop = Math.min(2, Math.floor(place));
      pen.fillStyle = `rgb(${stops[stop].map((part, i) => Math.round(part + (place - stop) * (stops[stop + 1][i] - part))).join()})`;
      pen.beginPath();
      for (let corner = 0; corner < 6; corner++) pen.lineTo(x + HEXAGON * Math.sin(corner * Math.PI / 3), y - HEXAGON * Math.cos(corner * Math.PI / 3));
      pen.fill();
    }
    return most;
  }

  function scatter(holder) {
    board.models.forEach((model, index) => {
      const [figure, canvas] = card(holder, model, `${model.name}: predictions of ${model.n} paintings against human scores, SROCC ${format(model.srocc, 3)}, PLCC ${format(model.plcc, 3)}`);
      figure.classList.add("live");
      const scored = model.predictions.filter((value) => value !== null);
      const yRange = model.onScale ? extent([...scored], [known[0], known[known.length - 1]]) : extent(scored, [scored[0], scored[0]]);
      const xRange = model.onScale ? yRange : truthRange;
      const dense = model.n > board.many;  // dots would cover each other
      const scale = element("div", { class: "scale" }, "1", element("i", { "aria-hidden": "true" }), element("span"));
      if (dense) figure.append(scale);
      let map = null;
      surface(canvas, (pen, width, height) => {
        map = frame(pen, width, height, xRange, yRange, true);
        if (dense) {
          const most = hexagons(pen, model.predictions.flatMap((value, place) => (value === null ? [] : [[map.toX(board.truth[place]), map.toY(value)]])));
          scale.lastChild.textContent = `${most.toLocaleString("en")} per hexagon`;
        } else {
          pen.fillStyle = modelColor(index);
          // Dots fade as they crowd, so that a thousand of them still show where they are dense.
          pen.globalAlpha = Math.max(0.4, Math.min(0.75, 12 / Math.sqrt(model.n || 1)));
          model.predictions.forEach((value, place) => {
            if (value === null) return;
            pen.beginPath(); pen.arc(map.toX(board.truth[place]), map.toY(value), 2.6, 0, 7); pen.fill();
          });
          pen.globalAlpha = 1;
        }
        if (model.onScale) identity(pen, map, xRange);
      });
      const nearest = (event) => {
        if (!map) return -1;
        const box = canvas.getBoundingClientRect();
        let best = -1, distance = 14 ** 2;
        model.predictions.forEach((value, place) => {
          if (value === null) return;
          const d = (map.toX(board.truth[place]) - event.clientX + box.left) ** 2 + (map.toY(value) - event.clientY + box.top) ** 2;
          if (d < distance) { distance = d; best = place; }
        });
        return best;
      };
      canvas.addEventListener("pointermove", (event) => tip(nearest(event), model, event));
      canvas.addEventListener("pointerleave", () => tip(-1));
      canvas.addEventListener("click", (event) => { const place = nearest(event); if (place >= 0) window.ARTQUANT.open(place); });
    });
  }

  function tip(place, model, event) {
    const box = document.querySelector("[data-tip]");
    box.hidden = place < 0;
    if (place < 0) return;
    const text = element("div", {}, board.ids[place], element("span", {}, `people ${format(board.truth[place])}, model ${format(model.predictions[place])}`));
    box.replaceChildren(thumbnail(place), text);
    box.style.left = `${Math.min(event.clientX + 14, window.innerWidth - 290)}px`;
    box.style.top = `${Math.min(event.clientY + 14, window.innerHeight - 110)}px`;
  }

  function calibration(holder) {
    board.models.forEach((model, index) => {
      if (!model.calibration.length) return;
      const said = model.calibration.map(([x, y]) => `${format(x)} to ${format(y)}`).join(", ");
      const [, canvas] = card(holder, model, `${model.name}: mean prediction and mean human score by group: ${said}`);
      const x = extent(model.calibration.map(([mean]) => mean), [model.calibration[0][0], model.calibration[0][0]]);
      const y = extent(model.calibration.map(([, mean]) => mean), [model.calibration[0][1], model.calibration[0][1]]);
      const both = [Math.min(x[0], y[0]), Math.max(x[1], y[1])];
      surface(canvas, (pen, width, height) => {
        const [across, up] = model.onScale ? [both, both] : [x, y];
        const map = frame(pen, width, height, across, up, true);
        if (model.onScale) identity(pen, map, both);
        pen.strokeStyle = pen.fillStyle = modelColor(index);
        pen.lineWidth = 2; pen.lineJoin = "round"; pen.beginPath();
        model.calibration.forEach(([a, b], place) => (place ? pen.lineTo(map.toX(a), map.toY(b)) : pen.moveTo(map.toX(a), map.toY(b))));
        pen.stroke();
        for (const [a, b] of model.calibration) { pen.beginPath(); pen.arc(map.toX(a), map.toY(b), 3.2, 0, 7); pen.fill(); }
      });
    });
  }

  // The mean error over a window of neighbouring paintings, at `count` positions from the first to the last painting.
  function smooth(model, count = 120) {
    const half = Math.max(2, Math.round(board.ids.length / 40));
    const sums = [0], numbers = [0];
    model.predictions.forEach((value, place) => {
      sums.push(sums[place] + (value === null ? 0 : value - board.truth[place]));
      numbers.push(numbers[place] + (value !== null));
    });
    const points = [];
    for (let step = 0; step < count; step++) {
      const middle = Math.round(step * (board.ids.length - 1) / (count - 1));
      const from = Math.max(0, middle - half), to = Math.min(board.ids.length, middle + half + 1);
      if (numbers[to] > numbers[from]) points.push([middle, (sums[to] - sums[from]) / (numbers[to] - numbers[from])]);
    }
    return points;
  }

  function quality(holder, legend) {
    const models = board.models.map((model, index) => ({ model, index })).filter(({ model }) => model.onScale && model.n);
    if (!models.length) { holder.append(element("p", { class: "note" }, "No model here predicts on the dataset's scale.")); return; }
    const shown = new Set(models.slice(0, 6).map(({ index }) => index));
    const canvas = element("canvas", { role: "img", "aria-label": "Mean error by human score, a line per model; the table of human score bands below has the same as figures" });
    const strip = element("div", { class: "strip" });
    holder.append(canvas, strip);
    const lines = new Map(models.map(({ model, index }) => [index, smooth(model)]));
    let picked = [];
    const last = board.ids.length - 1;
    const paint = surface(canvas, (pen, width, height) => {
      const count = Math.max(3, Math.min(board.ids.length, Math.floor(width / 72)));
      picked = [...new Set(Array.from({ length: count }, (_, i) => Math.round(last * (i + 0.5) / count)))];
      const seen = models.filter(({ index }) => shown.has(index));
      const errors = seen.flatMap(({ model, index }) => [...lines.get(index).map(([, error]) => error), ...picked.map((place) => (model.predictions[place] === null ? null : model.predictions[place] - board.truth[place]))]);
      const map = frame(pen, width, height, [0, Math.max(1, last)], extent(errors, [-0.5, 0.5]), false);
      pen.strokeStyle = color("--soft"); pen.beginPath(); pen.moveTo(map.inner.left, map.toY(0)); pen.lineTo(map.inner.right, map.toY(0)); pen.stroke();
      pen.fillText("human score, lowest to highest →", (map.inner.left + map.inner.right) / 2, map.inner.bottom + 9);
      for (const { model, index } of seen) {
        pen.strokeStyle = pen.fillStyle = modelColor(index);
        pen.lineWidth = 2; pen.setLineDash(modelPattern(index)[1]); pen.beginPath();
        lines.get(index).forEach(([place, error], step) => (step ? pen.lineTo(map.toX(place), map.toY(error)) : pen.moveTo(map.toX(place), map.toY(error))));
        pen.stroke(); pen.setLineDash([]);
        for (const place of picked) {
          if (model.predictions[place] === null) continue;
          pen.globalAlpha = 0.75; pen.beginPath(); pen.arc(map.toX(place), map.toY(model.predictions[place] - board.truth[place]), 3.4, 0, 7); pen.fill(); pen.globalAlpha = 1;
        }
      }
      strip.replaceChildren(...picked.map((place) => {
        const button = element("button", { class: "thumb", type: "button", "aria-label": `Open painting ${board.ids[place]}, human score ${format(board.truth[place])}` }, thumbnail(place), element("div", {}, format(board.truth[place])));
        button.style.left = `${map.toX(place)}px`;
        button.addEventListener("click", () => window.ARTQUANT.open(place));
        return button;
      }));
    });
    for (const { model, index } of models) {
      const box = element("input", { type: "checkbox" });
      box.checked = shown.has(index);
      const swatch = element("span", { class: "swatch" });
      swatch.style.borderTopStyle = modelPattern(index)[0];
      const tint = () => { swatch.style.color = modelColor(index); };
      tint(); redraws.push(tint);
      box.addEventListener("change", () => { if (box.checked) shown.add(index); else shown.delete(index); paint(); });
      legend.append(element("label", {}, box, swatch, model.name));
    }
  }

  scatter(document.querySelector('[data-plots="scatter"]'));
  calibration(document.querySelector('[data-plots="calibration"]'));
  quality(document.querySelector("[data-quality]"), document.querySelector("[data-legend]"));

  let waiting = 0;
  const again = () => { cancelAnimationFrame(waiting); waiting = requestAnimationFrame(() => redraws.forEach((draw) => draw())); };
  window.addEventListener("resize", again);
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);
  return { board, element, format, thumbnail, open: () => {} };
})();
