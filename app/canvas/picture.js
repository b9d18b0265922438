// Where pictures come from: a file, the clipboard, a drop, the camera.

/** On a phone the camera at its back; as sharp as the model can use. */
const CAMERA = { facingMode: "environment", width: { ideal: 1280 }, height: { ideal: 960 } };

/** Listen for pictures on `root` and hand each file to `take`. */
export function listenForPictures(root, take) {
  const input = root.querySelector("input[type=file]");
  input.addEventListener("change", () => {
    if (input.files[0]) take(input.files[0]);
    input.value = "";
  });
  root.addEventListener("dragover", (event) => {
    event.preventDefault();
    root.classList.add("dropping");
  });
  root.addEventListener("dragleave", () => root.classList.remove("dropping"));
  root.addEventListener("drop", (event) => {
    event.preventDefault();
    root.classList.remove("dropping");
    if (event.dataTransfer.files[0]) take(event.dataTransfer.files[0]);
  });
  document.addEventListener("paste", (event) => {
    const file = [...(event.clipboardData?.files || [])].find((f) => f.type.startsWith("image/"));
    if (!file || !root.checkVisibility()) return;
    event.preventDefault();
    take(file);
  });
}

/** The camera panel: `open`, `shoot` and `close`. */
export function cameraPanel(panel, take, complain) {
  const video = panel.querySelector("video");
  const close = () => {
    video.srcObject?.getTracks().forEach((track) => track.stop());
    video.srcObject = null;
    panel.hidden = true;
  };
  const open = async () => {
    try {
      video.srcObject ||= await navigator.mediaDevices.getUserMedia({ video: CAMERA });
      panel.hidden = false;
      await video.play();
    } catch {
      close();
      complain("No camera can be used here.");
    }
  };
  const shoot = () => {
    if (!video.videoWidth) return;
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
    canvas.getContext("2d").drawImage(video, 0, 0);
    close();
    canvas.toBlob((blob) => take(new File([blob], "camera.jpg", { type: "image/jpeg" })), "image/jpeg", 0.92);
  };
  return { open, shoot, close };
}
