// Live updates, copying, shortcuts. The pages work without any of it.
(() => {
  "use strict";
  let paused = sessionStorage.getItem("paused") === "1";
  const all = (selector, root = document) => Array.from(root.querySelectorAll(selector));
  const inField = (element) => element && element.matches("input, textarea, select, [contenteditable]");

  const say = (text) => { const status = document.getElementById("status"); if (status) status.textContent = text; };

  const showPaused = () => all("[data-pause]").forEach((button) => {
    button.textContent = paused ? "Go on" : "Pause";
    button.setAttribute("aria-pressed", String(paused));
  });
  const togglePause = () => {
    paused = !paused;
    sessionStorage.setItem("paused", paused ? "1" : "0");
    showPaused();
    say(paused ? "Live updates paused" : "Live updates go on");
  };

  // Polling stops while paused, while the tab is hidden, and never swaps what somebody is typing in.
  document.addEventListener("htmx:beforeRequest", (event) => {
    const polls = (event.target.getAttribute("hx-trigger") || "").startsWith("every");
    const typing = event.target.contains(document.activeElement) && inField(document.activeElement);
    if (polls && (paused || document.hidden || typing)) event.preventDefault();
    else if (!polls) event.target.setAttribute("aria-busy", "true");
  });
  // What comes along with a poll never takes away what has the focus.
  document.addEventListener("htmx:oobBeforeSwap", (event) => {
    if (event.detail.target.contains(document.activeElement)) event.detail.shouldSwap = false;
  });
  // A poll that finds another page loads it anew: not over what somebody has typed, nor over what is being sent.
  let begun = false;
  const begins = (event) => { if (event.target.closest("form[method=post]")) begun = true; };
  document.addEventListener("input", begins);
  document.addEventListener("submit", begins);
  document.addEventListener("htmx:beforeOnLoad", (event) => {
    if (!begun || event.detail.xhr.getResponseHeader("HX-Refresh") !== "true") return;
    event.preventDefault();
    say("This page has changed since it was opened. What you typed is kept.");
  });
  document.addEventListener("htmx:afterRequest", (event) => event.target.removeAttribute("aria-busy"));
  document.addEventListener("htmx:afterSwap", (event) => {
    showPaused();
    const spoken = event.target.querySelector && event.target.querySelector("[data-say]");
    if (spoken && spoken.dataset.say !== document.body.dataset.said) {
      document.body.dataset.said = spoken.dataset.say;
      say(spoken.dataset.say);
    }
  });

  document.addEventListener("click", async (event) => {
    const copy = event.target.closest("[data-copy]");
    if (copy) {
      const source = document.getElementById(copy.dataset.copy);
      const text = copy.dataset.text || (source ? source.textContent : "");
      await navigator.clipboard.writeText(text);
      say("Copied");
      const word = Array.from(copy.childNodes).find((node) => node.nodeType === Node.TEXT_NODE && node.data.trim() === "Copy");
      if (word) {
        word.data = "Copied";
        window.setTimeout(() => { word.data = "Copy"; }, 2000);
      }
    }
    if (event.target.closest("[data-pause]")) togglePause();
    const keep = event.target.closest("[data-keep]");
    if (keep) {
      const box = document.getElementById("hostnames");
      box.value = keep.dataset.keep;
      box.dispatchEvent(new Event("input", { bubbles: true }));
    }
  });
  document.addEventListener("change", (event) => {
    const page = event.target.closest("[data-pick-page]");
    if (page) all("[name=picks]", page.closest("table")).forEach((box) => { box.checked = event.target.checked; });
    const form = event.target.closest("form");
    if (event.target.matches("[data-submit]") || (form && form.matches("[data-submit-on-change]") && event.target.matches("select"))) {
      form.requestSubmit();
    }
  });

  const places = { o: "/", a: "/associations/", c: "/cas/", h: "/hostnames/", r: "/requests/", d: "/drift/", l: "/audit/" };
  let going = 0;
  document.addEventListener("keydown", (event) => {
    if (event.metaKey || event.ctrlKey || event.altKey || inField(event.target)) return;
    if (event.key === "/") {
      const search = document.querySelector("input[type=search]");
      if (search) { event.preventDefault(); search.focus(); }
    } else if (event.key === "g") {
      going = Date.now();
    } else if (Date.now() - going < 1500 && places[event.key]) {
      window.location.assign(places[event.key]);
    } else if (event.key === "n") {
      window.location.assign("/requests/new/");
    } else if (event.key === "p") {
      togglePause();
    }
  });

  all("[data-pick-page]").forEach((label) => label.classList.remove("hidden"));
  showPaused();
  const summary = document.querySelector("[data-summary]");
  if (summary) summary.focus();
  const fade = () => {
    if (document.querySelector(".toasts:hover")) window.setTimeout(fade, 2000);
    else all(".toast").forEach((toast) => toast.remove());
  };
  window.setTimeout(fade, 8000);
})();
