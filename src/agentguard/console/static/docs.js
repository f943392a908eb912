// "Try it": sends what the form says and shows the answer as text.
const token = document.getElementById("token");

async function tryIt(form) {
  const answer = form.querySelector(".answer");
  const { method, path } = form.dataset;
  const query = form.elements.query?.value.trim();
  const headers = token.value ? { authorization: `Bearer ${token.value.trim()}` } : {};
  const request = { method, headers, credentials: "same-origin" };
  if (method === "POST") {
    headers["content-type"] = "application/json";
    request.body = form.elements.body.value;
  }
  answer.textContent = "…";
  try {
    const reply = await fetch(query ? `${path}?${query}` : path, request);
    const text = await reply.text();
    answer.textContent = `${reply.status} ${reply.statusText}\n${pretty(text).slice(0, 20000)}`;
  } catch (error) {
    answer.textContent = `no answer: ${error.message}`;
  }
}

/** @param {string} text */
function pretty(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

for (const form of document.querySelectorAll("form.try")) {
  form.querySelector("button").disabled = false;
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    tryIt(form);
  });
}
