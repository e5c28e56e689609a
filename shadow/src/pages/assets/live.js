// Puts what is new in the place of what it replaces. Without it the page says the same when it is loaded again.
"use strict";

const note = document.getElementById("live");
let source = null;

function listen() {
  source = new EventSource("/events");
  source.addEventListener("sections", (event) => {
    for (const [id, html] of Object.entries(JSON.parse(event.data))) replace(id, html);
    say("Up to date by itself.");
  });
  source.addEventListener("error", () => say("The connection is lost: this is how it was. Trying again."));
}

function say(text) {
  if (note && note.textContent !== text) note.textContent = text;
}

// The sections come from the server that the page came from, which escapes what others wrote.
function replace(id, html) {
  const old = document.getElementById(id);
  if (!old) return;
  const holder = document.createElement("template");
  holder.innerHTML = html;
  const fresh = holder.content.firstElementChild;
  if (!fresh || fresh.id !== id) return;
  const wasOpen = [...old.querySelectorAll("details")].map((one) => one.open);
  [...fresh.querySelectorAll("details")].forEach((one, index) => (one.open = wasOpen[index] === true));
  const place = focusable(old).indexOf(document.activeElement);
  old.replaceWith(fresh);
  if (place >= 0) focusable(fresh)[place]?.focus({ preventScroll: true });
}

function focusable(element) {
  return [...element.querySelectorAll("a[href], summary, button, input, [tabindex='0']")];
}

// Nobody looks at a page in the background, and a browser has few connections to give away.
document.addEventListener("visibilitychange", () => {
  if (document.hidden) {
    source?.close();
    source = null;
  } else if (!source) {
    listen();
  }
});
// Left for good or kept for coming back: either way nobody listens meanwhile.
window.addEventListener("pagehide", () => {
  source?.close();
  source = null;
});
window.addEventListener("pageshow", () => {
  if (!source) listen();
});
