import { ENDING_SIGNALS } from './background.ts'
import { InterruptedError } from './errors.ts'

/**
 * Is aborted by the first signal that asks us to end, which no longer ends us by itself: whoever works looks at it now and
 * then, and lets the event loop turn so that signals are heard.
 */
export function interruption(): AbortSignal {
  const controller = new AbortController()
  for (const signal of ENDING_SIGNALS) {
    process.on(signal, () => controller.abort(new InterruptedError(signal, `ended by ${signal}`)))
  }
  return controller.signal
}
