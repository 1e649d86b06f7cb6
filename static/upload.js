// The first gate of an upload: a private key is refused here, before any request is made, and the box is cleared.
(() => {
  "use strict";
  const LIMIT = 64 * 1024;
  const box = document.getElementById("pem");
  const chooser = document.getElementById("file");
  const zone = document.getElementById("drop");
  const note = document.getElementById("pem-note");
  if (!box) return;

  const isKeyText = (text) => {
    if (/PRIVATE KEY|PuTTY-User-Key-File/i.test(text)) return true;
    return /"kty"\s*:/.test(text) && /"(d|k)"\s*:\s*"/.test(text);
  };
  // PKCS#8 and SEC1 begin with a version number where a certificate has a sequence; PKCS#12 with version 3.
  const isKeyDer = (bytes) => {
    if (bytes[0] !== 0x30) return false;
    const header = bytes[1] < 0x80 ? 2 : 2 + (bytes[1] & 0x7f);
    return bytes[header] === 0x02 && bytes[header + 1] === 0x01;
  };
  const show = (words, bad) => {
    note.textContent = words;
    note.classList.toggle("hidden", !words);
    zone.classList.toggle("err", Boolean(bad));
  };
  const refuseKey = () => {
    box.value = "";
    if (chooser) chooser.value = "";
    show("That holds a private key. It was not sent. Treat it as exposed only if you pasted it elsewhere too.", true);
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
    if (isKeyText(text)) { refuseKey(); return; }
    box.value = text;
    show("", false);
    box.dispatchEvent(new Event("input", { bubbles: true }));
  };
  const take = async (file) => {
    if (file.size > LIMIT) { show("The file is larger than 64 KB. Send one CA certificate.", true); return; }
    const bytes = new Uint8Array(await file.arrayBuffer());
    if (isKeyDer(bytes)) { refuseKey(); return; }
    if (chooser) chooser.value = "";
    put(bytes[0] === 0x30 ? wrap(bytes) : decode(bytes));
  };

  // Capture, so that htmx never sees an event about a key.
  box.addEventListener("input", (event) => {
    if (isKeyText(box.value)) { event.stopImmediatePropagation(); refuseKey(); }
    else if (box.value) show("", false);
  }, true);
  chooser.addEventListener("change", () => { if (chooser.files.length) take(chooser.files[0]); });
  zone.addEventListener("dragover", (event) => event.preventDefault());
  zone.addEventListener("drop", (event) => {
    if (event.dataTransfer.files.length) { event.preventDefault(); take(event.dataTransfer.files[0]); }
  });
  box.form.addEventListener("submit", (event) => { if (isKeyText(box.value)) { event.preventDefault(); refuseKey(); } }, true);
})();
