import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Page } from 'playwright-core'
import t, { type Test } from 'tap'
import { openPage, startBrowser } from '../support/browser.js'
import {
  allActions,
  type Contrast,
  contrasts,
  type FocusedAction,
  focusedAction,
  focusedId,
  focusedText,
  hide,
  noteChanges,
  tooWide
} from '../support/in-page.js'
import { needs } from '../support/programs.js'
import { alertmanagerBody, oneAlert, publishPaths, startTestService } from '../support/service.js'
import { type Json, startStandIn } from '../support/stand-in.js'

if (needs(t, 'chromium')) {
  const browser = await startBrowser(t)
  const slowly = { RETRY_BASE: '1h', CIRCUIT_FAILURE_THRESHOLD: '1', CIRCUIT_OPEN_DURATION: '1h' }

  /** One target that takes everything, one that is down, one that refuses for good; and one critical alert. */
  const troubled = async (t: Test, alert: object = oneAlert()) => {
    const slack = await startStandIn(t, { body: 'ok' })
    const pagerduty = await startStandIn(t, { status: 503 })
    const hook = await startStandIn(t, { status: 400 })
    const targets = [
      { name: 'slack-ops', type: 'slack', url: slack.url },
      { name: 'pagerduty-oncall', type: 'pagerduty', url: pagerduty.url, routing_key: 'k'.repeat(32) },
      { name: 'audit-hook', type: 'webhook', url: hook.url }
    ]
    const service = await startTestService(t, { targets, env: slowly })
    await service.post(publishPaths.all, alert)
    return { slack, pagerduty, hook, service }
  }

  t.test('the first words say what is not delivered, to whom and why; all else can be found below', async t => {
    const { service } = await troubled(t)
    const { page, faults } = await openPage(browser, service.url)
    t.match(
      await headline(page),
      /^1 alert was given up for audit-hook: Webhook answered 400, last (just now|\d+ s ago)\.$/
    )
    t.equal(
      plain(await page.locator('.findings li').innerText()),
      '1 alert is owed to pagerduty-oncall: PagerDuty answered 503, next try in 60 min. ' +
        'Nothing to do: it is tried again by itself. If it lasts, look at the vendor’s own status page. What is owed'
    )
    t.same(await page.getByRole('columnheader').allInnerTexts(), [
      ...['Alert', 'To', 'Owed for', 'Why', 'Next'],
      ...['Target', 'Health', 'Circuit', 'Last delivery', 'Owed', 'Actions'],
      ...['When', 'Alert', 'Outcome at each target']
    ])
    t.match(plain(await page.locator('#target-pagerduty-oncall').innerText()), /open server error, probe in 60 min/)
    t.match(plain(await page.locator('#recent tbody tr').innerText()), /NodeDown firing .*slack-ops delivered in/)
    t.same(faults, [])
  })

  t.test('hostile alert texts stay text in the browser too, before and after an update', async t => {
    const hostile = `<script>document.title='owned'</script><img src=x onerror="document.title='owned'">"'&lt;`
    const { service } = await troubled(t, oneAlert(hostile, { annotations: { summary: hostile } }))
    const { page, faults } = await openPage(browser, service.url)
    const names = () => page.locator('bdi.name').allInnerTexts()
    const summary = () => page.locator('#owed bdi.says').innerText()
    t.same([await names(), await summary()], [[hostile, hostile, hostile], hostile])
    await service.post(publishPaths.all, oneAlert(`${hostile}2`))
    await page.locator('#recent tbody tr').nth(1).waitFor()
    t.same(new Set(await names()), new Set([hostile, `${hostile}2`]))
    t.notMatch(await page.title(), 'owned')
    t.same(await page.locator('main script, main img').count(), 0)
    t.same(faults, [])
  })

  t.test('what happens shows by itself, without a reload, and leaves the focus where it is', async t => {
    const { service, hook } = await troubled(t)
    hook.answer({ status: 200 })
    const { page } = await openPage(browser, service.url)
    const button = page.getByRole('button', { name: 'Send test alert to slack-ops' })
    await button.focus()
    await page.evaluate('window.stayed = true')
    await service.post(publishPaths.all, oneAlert('DiskFull'))
    await page.locator('#recent').getByText('DiskFull').waitFor()
    t.equal(await page.evaluate('window.stayed'), true)
    t.equal(await page.evaluate(focusedId), 'test-slack-ops')
  })

  t.test('a replayed dead letter is delivered, and is no longer told', async t => {
    const { service, hook } = await troubled(t)
    hook.answer({ status: 200 })
    const { page, faults } = await openPage(browser, service.url)
    await page.getByRole('button', { name: 'Replay NodeDown for audit-hook' }).click()
    await page.getByText('1 put back into the queue.').waitFor()
    await page.locator('#given-up').waitFor({ state: 'detached' })
    await hook.got(2)
    await page.getByRole('heading', { level: 1, name: /^1 alert is owed to pagerduty-oncall/ }).waitFor()
    t.same(faults, [])
  })

  t.test('all dead letters of one cause are replayed at once', async t => {
    const { service, hook } = await troubled(t)
    await service.post(publishPaths.all, oneAlert('DiskFull'))
    hook.answer({ status: 200 })
    const { page } = await openPage(browser, service.url)
    await page.getByRole('button', { name: 'Replay all 2 for audit-hook (request refused)' }).click()
    await page.getByText('2 put back into the queue.').waitFor()
    await hook.got(4)
    t.same(new Set(hook.requests.map(each => each.json().alerts[0].alert_name)), new Set(['NodeDown', 'DiskFull']))
  })

  t.test('a dead letter is discarded only once that was confirmed, and the focus stays near', async t => {
    const { service } = await troubled(t)
    await service.post(publishPaths.all, oneAlert('DiskFull'))
    const { page } = await openPage(browser, service.url)
    const asked: string[] = []
    let sure = false
    page.on('dialog', dialog => {
      asked.push(dialog.message())
      return sure ? dialog.accept() : dialog.dismiss()
    })
    const discard = page.getByRole('button', { name: 'Discard DiskFull for audit-hook' })
    await discard.click()
    t.equal((await service.get('/api/v1/dead-letters')).body.items.length, 2)
    sure = true
    await discard.click()
    await page.getByText('1 discarded.').waitFor()
    await discard.waitFor({ state: 'detached' })
    t.same(
      (await service.get('/api/v1/dead-letters')).body.items.map((letter: Json) => letter.alerts[0].alert_name),
      ['NodeDown']
    )
    t.equal(await page.evaluate(focusedId), 'given-up-title')
    t.same(asked, Array(2).fill('Discard this dead letter? The target will never get it.'))
  })

  t.test('a test alert really goes to its target, and its outcome is told in words', async t => {
    const { service, slack } = await troubled(t)
    const { page } = await openPage(browser, service.url)
    await page.getByRole('button', { name: 'Send test alert to slack-ops' }).click()
    await page.getByText(/^slack-ops took the test alert \(HTTP 200, \d+ ms\)\.$/).waitFor()
    t.equal(slack.requests.filter(each => each.bytes.includes('Test alert for slack-ops')).length, 2)
    await page.getByRole('button', { name: 'Send test alert to audit-hook' }).click()
    await page.getByText('audit-hook does not have the test alert: Webhook answered 400.').waitFor()
    await page.getByRole('button', { name: 'Close', exact: true }).click()
    t.equal(await page.locator('#said').innerText(), '')
  })

  t.test('once the circuit is closed by hand, what was owed is delivered', async t => {
    const { service, pagerduty, hook } = await troubled(t)
    pagerduty.answer({ status: 202, body: '{"status":"success"}' })
    hook.answer({ status: 200 })
    await service.post('/api/v1/dead-letters/replay')
    const { page } = await openPage(browser, service.url)
    await page.getByRole('button', { name: 'Close circuit of pagerduty-oncall' }).click()
    await page.getByText('The circuit of pagerduty-oncall is closed: what it is owed is tried now.').waitFor()
    await page.getByRole('heading', { name: 'Everything is delivered.' }).waitFor()
    t.match(await page.title(), /^Everything is delivered/)
    t.equal(await page.locator('#icon').getAttribute('href'), '/page/fine.svg')
  })

  t.test('a check tells how the target is', async t => {
    const { service } = await troubled(t)
    const { page } = await openPage(browser, service.url)
    await page.getByRole('button', { name: 'Check slack-ops' }).click()
    await page.getByText(/^slack-ops is healthy \(\d+ ms\)\.$/).waitFor()
  })

  t.test('with tokens set nothing is shown until somebody signs in, and nothing after they sign out', async t => {
    const hook = await startStandIn(t)
    const file = join(t.testdir(), 'tokens')
    await writeFile(file, 'look:read:look-token\nact:admin:act-token\n')
    const targets = [{ name: 'secret-hook', type: 'webhook', url: hook.url }]
    const service = await startTestService(t, { targets, env: { API_TOKENS_FILE: file } })
    const { page, faults } = await openPage(browser, service.url)
    const signIn = async (token: string) => {
      await page.getByLabel('API token').fill(token)
      await page.keyboard.press('Enter')
    }
    t.notMatch(await page.content(), 'secret-hook')
    await signIn('wrong')
    await page.getByText('a valid token is required').waitFor()
    t.notMatch(await page.content(), 'secret-hook')
    await signIn('look-token')
    await page.locator('#target-secret-hook').waitFor()
    t.equal(await page.locator('button[data-does]').count(), 0)
    t.match(await page.locator('footer').innerText(), 'This token may look, but not act')
    await page.getByRole('button', { name: 'Sign out' }).click()
    await page.getByLabel('API token').waitFor()
    t.notMatch(await page.content(), 'secret-hook')
    await signIn('act-token')
    await page.getByRole('button', { name: 'Send test alert to secret-hook' }).click()
    await page.getByText(/^secret-hook took the test alert/).waitFor()
    await page.reload()
    await page.locator('#target-secret-hook').waitFor()
    t.equal(new URL(page.url()).href, `${service.url}/`)
    t.same(faults, [])
  })

  t.test('at 360 pixels nothing has to be scrolled sideways, and tables are still tables', async t => {
    const { service } = await troubled(
      t,
      oneAlert(`Very${'Long'.repeat(100)}`, { annotations: { summary: 'W'.repeat(500) } })
    )
    const { page } = await openPage(browser, service.url, { viewport: { width: 360, height: 740 } })
    t.equal(await page.evaluate('document.documentElement.scrollWidth'), 360)
    t.same(await page.evaluate(tooWide), [])
    const targets = page.getByRole('table', { name: 'Targets' })
    t.equal(await targets.getByRole('columnheader').count(), 6)
    t.equal(await targets.getByRole('rowheader').count(), 3)
    t.equal(await targets.getByRole('cell').count(), 15)
  })

  t.test('the keyboard alone reaches every link and button, and shows where it is', async t => {
    const { service } = await troubled(t)
    const { page } = await openPage(browser, service.url)
    const reached = new Set<string>()
    const unmarked: string[] = []
    for (;;) {
      await page.keyboard.press('Tab')
      const at = await page.evaluate<FocusedAction>(focusedAction)
      if (at.index < 0 || reached.has(at.key)) break
      reached.add(at.key)
      if (!at.marked) unmarked.push(at.key)
    }
    t.same([...reached], await page.evaluate(allActions))
    t.same(unmarked, [])
  })

  t.test('the skip link leads to the state, and Enter works every button', async t => {
    const { service } = await troubled(t)
    const { page } = await openPage(browser, service.url)
    await page.keyboard.press('Tab')
    t.equal(await page.evaluate(focusedText), 'Skip to the state')
    await page.keyboard.press('Enter')
    await page.keyboard.press('Tab')
    t.equal(await page.evaluate(focusedText), 'What was given up')
    await page.getByRole('button', { name: 'Check slack-ops' }).focus()
    await page.keyboard.press('Enter')
    await page.getByText(/^slack-ops is healthy/).waitFor()
  })

  t.test('without JavaScript the page tells the same, offers nothing that cannot work, and renews itself', async t => {
    const { service } = await troubled(t)
    const { page } = await openPage(browser, service.url, { javaScriptEnabled: false })
    t.match(
      await headline(page),
      /^1 alert was given up for audit-hook: Webhook answered 400, last (just now|\d+ s ago)\.$/
    )
    t.equal(await page.getByRole('row').count(), 1 + 1 + 1 + 3 + 1 + 1)
    t.equal(await page.getByRole('button').count(), 0)
    t.equal(await page.locator('meta[http-equiv="refresh"]').getAttribute('content'), '15')
    t.match(await page.locator('noscript').last().innerText(), 'Without JavaScript')
  })

  t.test('what is said aloud changes only when something changes, not with every second', async t => {
    const { service } = await troubled(t)
    const { page } = await openPage(browser, service.url)
    const aloud = () => page.locator('#announced').textContent()
    t.equal(await aloud(), '1 alert was given up for audit-hook: Webhook answered 400. 1 more to look at.')
    await page.evaluate(noteChanges('#announced'))
    const first = await page.locator('#seen').innerText()
    await page.locator('#seen').filter({ hasNotText: first }).waitFor()
    t.same(await page.evaluate('changes'), [])
  })

  t.test('a hidden page asks for nothing, and asks at once when it is seen again', async t => {
    const service = await startTestService(t, {})
    const { page } = await openPage(browser, 'about:blank')
    await page.clock.install()
    const asked: string[] = []
    page.on('request', request => request.resourceType() === 'fetch' && asked.push(request.url()))
    await page.goto(service.url)
    await page.evaluate(hide(true))
    await page.clock.runFor(60_000)
    t.same(asked, [])
    const seen = page.waitForRequest(`${service.url}/`)
    await page.evaluate(hide(false))
    await seen
    t.same(asked, [`${service.url}/`])
  })

  t.test('when the service does not answer, the page says since when it knows nothing', async t => {
    const { service } = await troubled(t)
    const { page } = await openPage(browser, service.url)
    await service.stop()
    const stale = page.getByRole('alert')
    await stale.getByText(/^alert-fanout has not answered since \d.*: what you see is from then\.$/).waitFor()
    t.match(await headline(page), /given up for audit-hook/)
  })

  t.test('a notification of several alerts is told as one, with its outcome at each target', async t => {
    const { service } = await troubled(t)
    await service.post(publishPaths.all, alertmanagerBody(['DiskFull', 'DiskSlow', 'DiskGone']))
    const { page } = await openPage(browser, service.url)
    const row = plain(await page.locator('#recent tbody tr').first().innerText())
    t.match(row, /^(just now|\d+ s ago) DiskFull firing and 2 more audit-hook given up \(Webhook answered 400\)/)
    t.match(row, /pagerduty-oncall owed slack-ops delivered in/)
  })

  for (const colorScheme of ['light', 'dark'] as const) {
    t.test(`every text stands out from its ground in the ${colorScheme} scheme`, async t => {
      const { service } = await troubled(t)
      const { page } = await openPage(browser, service.url, { colorScheme })
      const faint = await page.evaluate<Contrast[]>(contrasts)
      t.same(
        faint.filter(({ ratio }) => ratio < 4.5),
        []
      )
    })
  }
}

const plain = (text: string): string => text.replace(/\s+/g, ' ').trim()

async function headline(page: Page): Promise<string> {
  return plain(await page.getByRole('heading', { level: 1 }).innerText())
}
