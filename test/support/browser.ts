import { execFileSync } from 'node:child_process'
import { type Browser, type BrowserContextOptions, chromium, type Page } from 'playwright-core'
import type { Test } from 'tap'

/** A page in a real Chromium, and what went wrong in it so far. */
export interface Opened {
  readonly page: Page
  /** Script errors, refusals by the content security policy, and requests to anywhere else. */
  readonly faults: string[]
}

/** A real Chromium for as long as the test runs; see `needs(t, 'chromium')`. */
export async function startBrowser(t: Test): Promise<Browser> {
  const browser = await chromium.launch({
    executablePath: execFileSync('sh', ['-c', 'command -v chromium'], { encoding: 'utf8' }).trim(),
    args: [
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync'
    ]
  })
  t.teardown(() => browser.close())
  return browser
}

/** Opens a URL in a fresh profile. */
export async function openPage(browser: Browser, url: string, options: BrowserContextOptions = {}): Promise<Opened> {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options })
  const page = await context.newPage()
  page.setDefaultTimeout(15_000)
  const faults: string[] = []
  const { origin } = new URL(url)
  page.on('pageerror', error => faults.push(`script: ${error.message}`))
  page.on('console', message => {
    if (/content security policy/i.test(message.text())) faults.push(`policy: ${message.text()}`)
  })
  page.on('request', request => {
    if (new URL(request.url()).origin !== origin) faults.push(`elsewhere: ${request.url()}`)
  })
  await page.goto(url)
  return { page, faults }
}
