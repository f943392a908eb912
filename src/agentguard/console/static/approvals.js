// Keeps the pages of approvals current: the list loads again, one approval says that something happened to it.
const main = document.getElementById("approvals");
const PAUSE_MS = 400;

function remaining(until) {
  const seconds = Math.round((Date.parse(until) - Date.now()) / 1000);
  if (seconds <= 0) return "the time is up";
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor((seconds % 3600) / 60)];
  if (hours) return `${hours} h ${minutes} min left`;
  return minutes ? `${minutes} min ${seconds % 60} s left` : `${seconds} s left`;
}

function tick() {
  for (const each of document.querySelectorAll("time.until")) {
    each.dataset.said ??= each.textContent;
    each.textContent = `${each.dataset.said} (${remaining(each.dateTime)})`;
  }
}

if (document.querySelector("time.until") && (main.dataset.live === "list" || document.querySelector("form.vote"))) {
  tick();
  setInterval(tick, 1000);
}

let pending = 0;
const source = new EventSource(`/v1/approvals/stream?after=${main.dataset.after}`);
source.addEventListener("approval", (event) => {
  const { id } = JSON.parse(event.data);
  if (main.dataset.live === "list") {
    clearTimeout(pending);
    pending = setTimeout(() => location.reload(), PAUSE_MS);
  } else if (id === main.dataset.id) {
    const form = document.querySelector("form.vote");
    const typed = form && [...form.querySelectorAll("textarea, input:not([type=hidden])")].some((each) => each.value);
    if (typed) document.getElementById("changed").hidden = false;
    else location.replace(location.pathname);
  }
});
