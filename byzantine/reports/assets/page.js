// What a page without script cannot do: filter kinds, light up one slot, zoom, step by keyboard, save a picture.
// Without it everything is still there: the diagram, the words behind each sign, and the run as a list.
"use strict";

const STEP = 1.2, LEAST = 0.3, MOST = 4, READABLE = 0.72;

const tip = document.createElement("div");
tip.className = "tip";
tip.hidden = true;
document.body.append(tip);

function showTip(text, x, y) {
  tip.textContent = text;
  tip.hidden = false;
  const box = tip.getBoundingClientRect();
  tip.style.left = Math.max(4, Math.min(x + 14, innerWidth - box.width - 8)) + "px";
  tip.style.top = (y + 18 + box.height > innerHeight ? y - box.height - 10 : y + 18) + "px";
}

class Diagram {
  constructor(figure) {
    this.figure = figure;
    this.scroller = figure.querySelector(".scroller");
    this.pictures = [...figure.querySelectorAll(".scroller svg")];
    this.lanes = figure.querySelector("svg.lanes");
    this.detail = figure.querySelector(".detail");
    this.output = figure.querySelector("output");
    this.sizes = this.pictures.map((svg) => svg.viewBox.baseVal);
    this.pinned = null;
    this.at = null;
    this.collect();
    this.listen();
    this.fit();
    figure.querySelector(".scripted").hidden = false;
    figure.querySelectorAll("[data-kind]").forEach((box) => this.filter(box));
  }

  // The words move from <title> elements to a tooltip of our own, which appears at once.
  collect() {
    this.words = new Map();
    this.slots = new Map();
    for (const title of this.lanes.querySelectorAll("title")) {
      this.words.set(title.parentNode, title.textContent);
      title.remove();
    }
    for (const part of this.lanes.querySelectorAll("[data-s]")) {
      const slot = Number(part.dataset.s);
      if (!this.slots.has(slot)) this.slots.set(slot, []);
      this.slots.get(slot).push(part);
    }
    this.order = [...this.slots.keys()].sort((a, b) => a - b);
    this.steps = [...this.lanes.querySelectorAll(".m, .mark, .rule")]
      .map((part) => [this.topOf(part), part])
      .sort((a, b) => a[0] - b[0])
      .map((pair) => pair[1]);
  }

  topOf(part) {
    const moved = part.transform.baseVal;
    return moved.numberOfItems ? moved.getItem(0).matrix.f : startOf(part);
  }

  listen() {
    this.lanes.addEventListener("pointerover", (event) => this.hover(event));
    this.lanes.addEventListener("pointermove", (event) => this.follow(event));
    this.lanes.addEventListener("pointerleave", () => this.leave());
    this.lanes.addEventListener("click", (event) => this.pin(slotOf(event.target)));
    this.scroller.addEventListener("keydown", (event) => this.key(event));
    this.figure.querySelectorAll("[data-kind]").forEach((box) =>
      box.addEventListener("change", () => this.filter(box)));
    this.figure.querySelectorAll("[data-do]").forEach((button) =>
      button.addEventListener("click", () => this.act(button.dataset.do, button.dataset.to)));
  }

  hover(event) {
    const part = this.partOf(event.target);
    if (!part) return this.leave();
    this.mark(part);
    if (this.pinned === null) this.light(slotOf(part));
  }

  follow(event) {
    const part = this.partOf(event.target);
    if (part) showTip(this.words.get(part), event.clientX, event.clientY);
    else tip.hidden = true;
  }

  leave() {
    tip.hidden = true;
    this.mark(null);
    if (this.pinned === null) this.light(null);
  }

  partOf(target) {
    for (let part = target; part && part !== this.lanes; part = part.parentNode)
      if (this.words.has(part)) return part;
    return null;
  }

  mark(part) {
    if (this.at) this.at.classList.remove("at");
    this.at = part;
    if (!part) return;
    part.classList.add("at");
    this.detail.textContent = this.words.get(part).replaceAll("\n", " — ");
  }

  light(slot) {
    for (const part of this.lit || []) part.classList.remove("lit");
    this.lit = slot === null ? [] : this.slots.get(slot) || [];
    for (const part of this.lit) part.classList.add("lit");
    this.lanes.classList.toggle("lighting", this.lit.length > 0);
  }

  pin(slot) {
    this.pinned = slot === this.pinned ? null : slot;
    this.light(this.pinned);
    this.output.textContent = this.pinned === null ? "all" : this.pinned;
  }

  // The next slot that is in the picture, brought into sight.
  turn(by) {
    if (!this.order.length) return;
    const index = this.pinned === null ? (by > 0 ? -1 : 0) : this.order.indexOf(this.pinned);
    const slot = this.order[(index + by + this.order.length) % this.order.length];
    this.pinned = null;
    this.pin(slot);
    this.show(this.slots.get(slot)[0]);
    this.detail.textContent = `Slot ${slot}`;
  }

  step(by) {
    const choice = this.steps.filter((part) =>
      getComputedStyle(part).display !== "none" && (this.pinned === null || slotOf(part) === this.pinned));
    if (!choice.length) return;
    const index = choice.indexOf(this.at);
    const part = choice[index < 0 ? (by > 0 ? 0 : choice.length - 1) : (index + by + choice.length) % choice.length];
    this.mark(part);
    this.show(part);
  }

  show(part) {
    const box = part.getBoundingClientRect(), frame = this.scroller.getBoundingClientRect();
    if (frame.top < 0 || frame.top > innerHeight / 2) this.figure.scrollIntoView({ block: "start" });
    if (box.top < frame.top + 60 || box.bottom > frame.bottom - 20)
      this.scroller.scrollTop += box.top - frame.top - frame.height / 3;
  }

  key(event) {
    const actions = {
      ArrowLeft: "before", ArrowRight: "after", Escape: "clear", "+": "in", "=": "in", "-": "out", 0: "fit",
      j: "next", k: "last",
    };
    const action = actions[event.key];
    if (!action || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    this.act(action);
  }

  act(action, to) {
    if (action === "go") this.go(to);
    if (action === "before") this.turn(-1);
    if (action === "after") this.turn(1);
    if (action === "next") this.step(1);
    if (action === "last") this.step(-1);
    if (action === "clear") { this.pinned = null; this.pin(null); this.leave(); }
    if (action === "in") this.zoom(this.scale * STEP);
    if (action === "out") this.zoom(this.scale / STEP);
    if (action === "fit") this.fit();
    if (action === "save") this.save();
  }

  go(to) {
    const part = this.steps.find((one) => one.matches(`.${to}`));
    if (!part) return;
    this.mark(part);
    this.show(part);
  }

  filter(box) {
    const hidden = new Set(this.figure.dataset.hide.split(" ").filter(Boolean));
    if (box.checked) hidden.delete(box.dataset.kind); else hidden.add(box.dataset.kind);
    this.figure.dataset.hide = [...hidden].join(" ");
  }

  fit() {
    const room = this.scroller.clientWidth / this.sizes[0].width;
    this.zoom(Math.max(READABLE, Math.min(room, 1.15)));
  }

  zoom(scale) {
    const place = this.scroller.scrollTop / (this.scale || 1);
    this.scale = Math.max(LEAST, Math.min(scale, MOST));
    this.pictures.forEach((svg, index) => {
      svg.style.width = this.sizes[index].width * this.scale + "px";
      svg.style.height = this.sizes[index].height * this.scale + "px";
    });
    this.scroller.scrollTop = place * this.scale;
  }

  // One SVG of what is to be seen now, in light colours, for a paper: every look is written out as an attribute,
  // since drawing programs know neither style sheets of pages nor variables.
  save() {
    const [head, lanes] = this.sizes;
    const whole = document.createElementNS(this.lanes.namespaceURI, "svg");
    whole.setAttribute("viewBox", `0 0 ${lanes.width} ${head.height + lanes.height}`);
    document.documentElement.classList.add("light");
    this.pictures.forEach((svg, index) => {
      const copy = spelledOut(svg);
      copy.setAttribute("transform", `translate(0 ${index ? head.height : 0})`);
      whole.append(copy);
    });
    document.documentElement.classList.remove("light");
    const file = new Blob([new XMLSerializer().serializeToString(whole)], { type: "image/svg+xml" });
    const link = document.createElement("a");
    link.href = URL.createObjectURL(file);
    link.download = this.figure.dataset.file + ".svg";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  }
}

const PLACES = ["d", "x", "y", "width", "height", "rx", "r", "cx", "cy", "transform"];
const LOOKS = [
  "fill", "fill-opacity", "stroke", "stroke-width", "stroke-opacity", "stroke-dasharray", "stroke-linecap",
  "stroke-linejoin", "opacity", "paint-order", "font-family", "font-size", "font-weight", "font-style", "text-anchor",
];

// A copy of what is shown of an element, as a group where it was a picture, with its look as attributes.
function spelledOut(element) {
  const look = getComputedStyle(element);
  if (look.display === "none" || element.matches(".hit")) return null;
  const name = element.localName === "svg" ? "g" : element.localName;
  const copy = document.createElementNS(element.namespaceURI, name);
  for (const place of name === "g" ? ["transform"] : PLACES)
    if (element.hasAttribute(place)) copy.setAttribute(place, element.getAttribute(place));
  for (const one of name === "g" ? ["opacity"] : LOOKS) copy.setAttribute(one, look.getPropertyValue(one));
  for (const child of element.children) {
    const inner = spelledOut(child);
    if (inner) copy.append(inner);
  }
  if (element.localName === "text") copy.textContent = element.textContent;
  return copy;
}

function slotOf(target) {
  const part = target.closest("[data-s]");
  return part ? Number(part.dataset.s) : null;
}

// Where the first line of a message begins, read from its path: asking the browser for boxes is slow for thousands.
function startOf(part) {
  const path = part.querySelector("path");
  const found = path && /^M[-\d.]+ ([-\d.]+)/.exec(path.getAttribute("d"));
  return found ? Number(found[1]) : 0;
}

document.querySelectorAll("figure").forEach((figure) => new Diagram(figure));
