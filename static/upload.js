// Uploads: dropped and chosen files become text in the box, unless they hold a private key (private-keys.js).
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
    if (keys.inText(text)) { keys.refuse(box); return; }
    box.value = text;
    show("", false);
    box.dispatchEvent(new Event("input", { bubbles: true }));
  };
  const take = async (file) => {
    // Nothing of a file travels as a file: the box holds what is sent, so that people see it.
    chooser.value = "";
    if (file.size > LIMIT) { show("The file is larger than 64 KB. Send one CA certificate.", true); return; }
    const bytes = new Uint8Array(await file.arrayBuffer());
    if (keys.inBytes(bytes)) { keys.refuse(box); return; }
    put(bytes[0] === 0x30 && bytes[1] >= 0x80 ? wrap(bytes) : decode(bytes));
  };
  // What private-keys.js refused: no file stays chosen beside it, whatever field it was.
  box.form.addEventListener("private-key", () => { chooser.value = ""; zone.classList.add("err"); });
  box.addEventListener("input", () => { if (box.value) show("", false); });
  chooser.addEventListener("change", () => { if (chooser.files.length) take(chooser.files[0]); });
  zone.addEventListener("dragover", (event) => event.preventDefault());
  zone.addEventListener("drop", (event) => {
    const data = event.dataTransfer;
    if (data.files.length) { event.preventDefault(); take(data.files[0]); return; }
    if (keys.inText(data.getData("text"))) { event.preventDefault(); keys.refuse(box); }
  });
})();
