// A plot by day. What comes in stands above the line and is solid, what goes out hangs below it and is hatched, so that
// neither needs a color.

import { el, newId, svg } from "./dom.js";
import { day } from "./format.js";

const [WIDTH, HEIGHT] = [960, 240];
const [LEFT, RIGHT, TOP, BOTTOM] = [112, 8, 12, 32];
const TICKS = 3;
/** The most days that have labels. */
const LABELS = 8;

/** Makes a plot of `days` (`{ day, up, down }`, as numbers). `format` writes a value of the axis. */
export function plot({ title, up, down, days, format }) {
  const hatch = newId("hatch");
  const most = (values) => niceCeiling(Math.max(0, ...values));
  const [high, low] = [most(days.map((day) => day.up)), most(days.map((day) => day.down))];
  const range = high + low || 1;
  const y = (value) => TOP + ((high - value) / range) * (HEIGHT - TOP - BOTTOM);
  const step = (WIDTH - LEFT - RIGHT) / days.length;
  const width = Math.max(step * 0.72, Math.min(step, 1));
  const left = (index) => LEFT + index * step + (step - width) / 2;

  const isApart = (value) => y(-value) - y(0) >= 14;
  const below = isApart(low) ? [-low] : [];
  const lines = [...ticks(high), ...below].map((value) => [
    svg("line", { x1: LEFT, x2: WIDTH - RIGHT, y1: y(value), y2: y(value), class: value === 0 ? "zero" : "grid" }),
    svg("text", { x: LEFT - 8, y: y(value), class: "tick" }, format(Math.abs(value))),
  ]);
  const bars = days.map(({ day: date, up: above, down: under }, index) =>
    svg(
      "g",
      {},
      svg("title", {}, `${day(date, { dateStyle: "medium" })}: ${up} ${format(above)}, ${down} ${format(under)}`),
      svg("rect", { x: LEFT + index * step, y: TOP, width: step, height: HEIGHT - TOP - BOTTOM, class: "day" }),
      above > 0 && svg("rect", { x: left(index), y: y(above), width, height: y(0) - y(above), class: "up" }),
      under > 0 &&
        svg("rect", {
          x: left(index),
          y: y(0),
          width,
          height: y(-under) - y(0),
          class: "down",
          fill: `url(#${hatch})`,
        }),
    ),
  );
  const every = Math.ceil(days.length / LABELS);
  const labels = days.map(
    ({ day: date }, index) =>
      index % every === 0 && svg("text", { x: LEFT + (index + 0.5) * step, y: HEIGHT - 6, class: "date" }, day(date)),
  );
  const pattern = svg(
    "pattern",
    { id: hatch, width: 5, height: 5, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" },
    svg("rect", { width: 2.5, height: 5, class: "hatch" }),
  );
  return el(
    "figure",
    { class: "plot" },
    el(
      "figcaption",
      {},
      title,
      el("span", { class: "key solid" }, `▲ ${up}`),
      el("span", { class: "key hatched" }, `▼ ${down}`),
    ),
    svg(
      "svg",
      { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": `${title}: ${up}, ${down}` },
      svg("defs", {}, pattern),
      lines,
      bars,
      labels,
    ),
  );
}

/** 0 and some round values up to `highest`. */
function ticks(highest) {
  if (highest === 0) return [0];
  const count = highest < TICKS ? highest : TICKS;
  const values = Array.from({ length: count + 1 }, (_, index) => (highest * index) / count);
  return values.every(Number.isInteger) ? values : [0, highest];
}

/** The next value whose thirds are round: 3, 6, 9, 12, 15, 30, 45 and so on. Small ones stay as they are. */
function niceCeiling(value) {
  if (value <= TICKS) return value;
  const scale = 10 ** Math.floor(Math.log10(value / TICKS));
  const thirds = [1, 1.5, 2, 2.5, 3, 4, 5, 7.5, 10].map((step) => step * scale).filter(Number.isInteger);
  return thirds.find((third) => third * TICKS >= value) * TICKS;
}
