// The first gate of an upload: a private key is refused here, before any request is made, and its field is cleared.
(() => {
  "use strict";
  const LIMIT = 64 * 1024;
  const keys = window.privateKeys;
  const box = document.getElementById("pem");
  const chooser = document.getElementById("file");
  const zone = document.getElementById("drop");
  const note = document.getElementById("pem-note");
  if (!box) return;

  const show = (words, bad) => {
    note.querySelector("span").textContent = words;
    note.classList.toggle("hidden", !words);
    zone.classList.toggle("err", Boolean(bad));
  };
  const refuseKey = (field) => {
    field.value = "";
    chooser.value = "";
    show("That holds a private key. It was not sent. Treat it as exposed only if you pasted it elsewhere too.", true);
    note.scrollIntoView({ block: "nearest" });
  };
  const wrap = (bytes) => {
    let text = "";
    bytes.forEach((byte) => { text += String.fromCharCode(byte); });
    const lines = window.btoa(text).match(/.{1,64}/g) || [];
    return "-----BEGIN CERTIFICATE-----\n" + lines.join("\n") + "\n-----END CERTIFICATE-----\n";
  };
  const decode = (bytes) => {
    if (bytes[0] === 0xff && bytes[1] === 0xfe) return new TextDecoder("utf-16le").decode(bytes);
    if (bytes[0] === 0xfe && bytes[1] === 0xff) return new TextDecoder("utf-16be").decode(bytes);
    return new TextDecoder("utf-8").decode(bytes);
  };
  const put = (text) => {
    if (keys.inText(text)) { refuseKey(box); return; }
    box.value = text;
    show("", false);
    box.dispatchEvent(new Event("input", { bubbles: true }));
  };
  const take = async (file) => {
    // Nothing of a file travels as a file: the box holds what is sent, so that people see it.
    chooser.value = "";
    if (file.size > LIMIT) { show("The file is larger than 64 KB. Send one CA certificate.", true); return; }
    const bytes = new Uint8Array(await file.arrayBuffer());
    if (keys.inBytes(bytes)) { refuseKey(box); return; }
    put(bytes[0] === 0x30 && bytes[1] >= 0x80 ? wrap(bytes) : decode(bytes));
  };
  const typed = () => [...box.form.elements].filter((field) => field.matches("textarea, input[type=text]"));

  // On the window, while the event goes down: htmx and the browser never see an event about a key.
  window.addEventListener("input", (event) => {
    if (event.target.form !== box.form || !typed().includes(event.target)) return;
    if (keys.inText(event.target.value)) { event.stopImmediatePropagation(); refuseKey(event.target); }
    else if (event.target === box && box.value) show("", false);
  }, true);
  window.addEventListener("submit", (event) => {
    const bad = event.target === box.form && typed().filter((field) => keys.inText(field.value));
    if (bad && bad.length) { event.preventDefault(); event.stopImmediatePropagation(); bad.forEach(refuseKey); }
  }, true);
  chooser.addEventListener("change", () => { if (chooser.files.length) take(chooser.files[0]); });
  zone.addEventListener("dragover", (event) => event.preventDefault());
  zone.addEventListener("drop", (event) => {
    const data = event.dataTransfer;
    if (data.files.length) { event.preventDefault(); take(data.files[0]); return; }
    if (keys.inText(data.getData("text"))) { event.preventDefault(); refuseKey(box); }
  });
})();
