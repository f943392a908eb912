// Makes the list of decisions live. Whatever came from an agent is set as text, never as markup.
const ROWS = 200;
const live = document.getElementById("live");
const rows = document.getElementById("rows");
const blank = document.getElementById("row");
const filter = document.getElementById("filter");
const pause = document.getElementById("pause");
const stream = document.getElementById("stream");
const chain = document.getElementById("chain");
let after = live.dataset.after;
let waiting = []; // rows that came while paused, oldest first
let skipped = 0;
let failures = 0;

const isPaused = () => pause.getAttribute("aria-pressed") === "true";

function fill(part, name, text) {
  part.querySelector(`.f-${name}`).textContent = text;
}

function build(row) {
  const part = blank.content.cloneNode(true);
  for (const name of ["time", "icon", "label", "principal", "action", "resource", "reason", "rule", "latency", "params"]) {
    fill(part, name, row[name]);
  }
  const line = part.querySelector(".row");
  line.dataset.effect = row.effect;
  line.dataset.seq = row.seq;
  line.toggleAttribute("data-event", row.is_event);
  line.classList.add("new");
  part.querySelector(".effect").dataset.effect = row.effect;
  part.querySelector("time").dateTime = row.timestamp;
  part.querySelector("time").title = row.timestamp;
  part.querySelector(".more-toggle").setAttribute("aria-label", `Details of ${row.is_event ? "event" : "decision"} ${row.seq}`);
  fill(part, "what", row.is_event ? "What was seen" : "Parameters");
  const facts = part.querySelector(".f-facts");
  facts.replaceChildren();
  for (const [label, text] of row.facts) {
    const pair = document.createElement("div");
    const term = document.createElement("dt");
    const value = document.createElement("dd");
    const isolated = document.createElement("bdi");
    term.textContent = label;
    isolated.textContent = text;
    value.append(isolated);
    pair.append(term, value);
    facts.append(pair);
  }
  return part;
}

function note(count) {
  const line = document.createElement("tr");
  const cell = document.createElement("td");
  line.className = "note";
  cell.colSpan = 8;
  cell.textContent = `skipped ${count.toLocaleString("en")} rows that came faster than this page reads; they are on record`;
  line.append(cell);
  rows.prepend(line);
}

function show(row) {
  if (skipped) note(skipped);
  skipped = 0;
  const part = build(row);
  match(part.querySelector(".row"));
  rows.prepend(part);
  document.getElementById("empty").hidden = true;
}

function trim() {
  // Each kind has its own bound, so that no flood of events pushes the decisions out.
  for (const kind of [".row:not([data-event])", ".row[data-event]"]) {
    for (const line of [...rows.querySelectorAll(kind)].slice(ROWS)) {
      line.nextElementSibling?.remove();
      line.remove();
    }
  }
}

function match(line) {
  const chosen = [...filter.querySelectorAll("input[name=effect]:checked")].map((box) => box.value);
  const words = filter.elements.q.value.toLowerCase().split(/\s+/).filter(Boolean);
  const text = [...line.querySelectorAll("bdi")].map((each) => each.textContent).join(" ").toLowerCase();
  line.hidden = !chosen.includes(line.dataset.effect) || !words.every((word) => text.includes(word));
}

function count() {
  const lines = [...rows.querySelectorAll(".row")];
  const shown = lines.filter((line) => !line.hidden).length;
  document.getElementById("count").textContent = `${shown} of ${lines.length} shown`;
  document.getElementById("waiting").textContent = waiting.length ? ` · ${waiting.length} waiting` : "";
}

let isCounting = false;
function settle() {
  // Once a frame at most, however fast rows come.
  if (isCounting) return;
  isCounting = true;
  requestAnimationFrame(() => {
    isCounting = false;
    trim();
    count();
  });
}

function say(state, word) {
  stream.dataset.state = state;
  stream.querySelector(".word").textContent = word;
}

function connect() {
  const source = new EventSource(`/events?after=${after}`);
  source.addEventListener("open", () => {
    failures = 0;
    say(isPaused() ? "paused" : "live", isPaused() ? "paused" : "live");
  });
  const take = (event) => {
    after = event.lastEventId;
    const row = JSON.parse(event.data);
    if (isPaused()) {
      waiting.push(row);
      if (waiting.length > ROWS) skipped += waiting.shift() ? 1 : 0;
    } else {
      show(row);
    }
    settle();
  };
  source.addEventListener("decision", take);
  source.addEventListener("event", take);
  source.addEventListener("skipped", (event) => {
    skipped += JSON.parse(event.data).count;
  });
  source.addEventListener("chain", (event) => {
    const { seq, head, signed, healthy, why_not: whyNot } = JSON.parse(event.data);
    chain.dataset.healthy = healthy ? "yes" : "no";
    fill(chain, "health", healthy ? "✓ takes records" : "✕ takes none: all is denied");
    fill(chain, "seq", seq.toLocaleString("en"));
    fill(chain, "signed", signed.toLocaleString("en"));
    fill(chain, "head", head.slice(0, 12) || "–");
    chain.querySelector(".f-health").title = whyNot;
    chain.querySelector(".f-head").title = head;
  });
  source.addEventListener("bye", () => {
    source.close();
    location.assign("/login");
  });
  source.addEventListener("error", () => {
    say("lost", "reconnecting …");
    if (source.readyState !== EventSource.CLOSED) return;
    // A refused stream (a login that ended, a restart) is not tried again by the browser itself.
    failures += 1;
    setTimeout(connect, Math.min(30000, 1000 * 2 ** failures));
  });
}

pause.addEventListener("click", () => {
  const paused = !isPaused();
  pause.setAttribute("aria-pressed", String(paused));
  pause.textContent = paused ? "Resume" : "Pause";
  say(paused ? "paused" : "live", paused ? "paused" : "live");
  if (!paused) {
    for (const row of waiting) show(row);
    waiting = [];
  }
  settle();
});
filter.addEventListener("submit", (event) => event.preventDefault());
filter.addEventListener("input", () => {
  for (const line of rows.querySelectorAll(".row")) match(line);
  count();
});
rows.addEventListener("click", (event) => {
  const line = event.target.closest(".row");
  if (!line || event.target.matches("input") || getSelection().toString()) return;
  const box = line.querySelector(".more-toggle");
  box.checked = !box.checked;
});

document.documentElement.classList.add("js");
pause.hidden = false;
connect();
