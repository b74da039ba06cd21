/** The thread of a task: it loads one, and answers images that were decoded outside. */
import { parentPort } from "node:worker_threads";
import type { ClassifyTask } from "../tasks/classify.js";
import type { FaceTask } from "../tasks/faces.js";
import type { Message } from "../worker/client.js";
import { failureOf } from "../worker/kinds.js";
import { loadClassifier, loadFaces } from "./local.js";
import type { Answer, Question } from "./thread.js";

let held: FaceTask | ClassifyTask | undefined;

async function answer(question: Question, begin: () => void): Promise<Answer> {
  if (question.op === "load") {
    const { task, loaded } = question.task === "classify" ? await loadClassifier(question.options, begin) : await loadFaces(question.options, begin);
    held = task;
    return loaded;
  }
  if (!held) throw new Error("nothing is loaded");
  begin();
  return held.answer(question.image, question.changed);
}

const say = (message: Message<Answer>): void => parentPort?.postMessage(message);

parentPort?.on("message", ({ id, ...question }: Question & { id: number }) => {
  answer(question, () => say({ id, begun: true })).then(
    (found) => say({ id, answer: found }),
    (error: unknown) => say({ id, failure: failureOf(error) }),
  );
});
