import { useEffect, useRef, useState } from "preact/hooks";
import type { modulesOf, readCode } from "../qr.ts";

declare const QR_URL: string;

/** The chunk that knows QR codes; loaded when it is first needed. */
function loadCodes(): Promise<{ modulesOf: typeof modulesOf; readCode: typeof readCode }> {
  return import(QR_URL);
}

/** One path of squares for the dark modules. */
function pathOf(modules: readonly (readonly boolean[])[]): string {
  return modules
    .flatMap((row, y) => row.map((isDark, x) => (isDark ? `M${x} ${y}h1v1h-1z` : "")))
    .join("");
}

/** A text as a QR code: dark on white whatever the theme, as readers need it. */
export function Code({ text, label }: { readonly text: string; readonly label: string }) {
  const [drawn, setDrawn] = useState<{ readonly path: string; readonly size: number } | null>(null);
  useEffect(() => {
    let isCurrent = true;
    void loadCodes().then((codes) => {
      if (!isCurrent) return;
      const modules = codes.modulesOf(text);
      setDrawn({ path: pathOf(modules), size: modules.length });
    });
    return () => {
      isCurrent = false;
    };
  }, [text]);
  const size = drawn?.size ?? 45;
  return (
    <svg class="code" viewBox={`0 0 ${size} ${size}`} role="img" aria-label={label} shape-rendering="crispEdges">
      <path class="paper" d={`M0 0h${size}v${size}H0z`} />
      {drawn !== null && <path d={drawn.path} />}
    </svg>
  );
}

interface ScannerProps {
  readonly label: string;
  onFound(text: string): void;
}

/** How often a picture of the camera is looked at, in milliseconds. */
const LOOK_MS = 150;

const REFUSED = "This page cannot use a camera. Allow it in your browser’s settings, or type or paste the code instead.";

function openCamera(): Promise<MediaStream> {
  return navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment", width: { ideal: 1280 } } });
}

/** Shows what the camera sees until there is a code in it. Pictures never leave this page. */
export function Scanner({ label, onFound }: ScannerProps) {
  const video = useRef<HTMLVideoElement>(null);
  const [fault, setFault] = useState("");
  useEffect(() => {
    let stream: MediaStream | null = null;
    let timer = 0;
    let isOver = false;
    const stop = () => {
      isOver = true;
      clearTimeout(timer);
      for (const track of stream?.getTracks() ?? []) track.stop();
    };
    const look = async (canvas: OffscreenCanvas, read: typeof readCode): Promise<void> => {
      const found = video.current === null ? null : read(pictureOf(video.current, canvas));
      if (isOver) return;
      if (found === null) {
        timer = window.setTimeout(() => void look(canvas, read), LOOK_MS);
        return;
      }
      stop();
      onFound(found);
    };
    const start = async (): Promise<void> => {
      const { readCode: read } = await loadCodes();
      stream = await openCamera();
      if (isOver || video.current === null) return stop();
      video.current.srcObject = stream;
      await video.current.play();
      await look(new OffscreenCanvas(1, 1), read);
    };
    start().catch(() => {
      stop(); // whatever has failed, the camera does not stay on
      setFault(REFUSED);
    });
    return stop;
  }, []);
  if (fault !== "") return <p role="alert" class="refusal">{fault}</p>;
  return <video class="scanner" ref={video} muted playsInline aria-label={label} />;
}

/** The present picture, at most 640 pixels wide: enough for a code, and quick to read. */
function pictureOf(video: HTMLVideoElement, canvas: OffscreenCanvas): ImageData {
  const scale = Math.min(1, 640 / Math.max(video.videoWidth, 1));
  canvas.width = Math.max(1, Math.round(video.videoWidth * scale));
  canvas.height = Math.max(1, Math.round(video.videoHeight * scale));
  const context = canvas.getContext("2d", { willReadFrequently: true });
  if (context === null) return new ImageData(1, 1);
  context.drawImage(video, 0, 0, canvas.width, canvas.height);
  return context.getImageData(0, 0, canvas.width, canvas.height);
}
