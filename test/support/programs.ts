import { execFileSync } from 'node:child_process'
import type { Test } from 'tap'

const packages: Record<string, string> = {
  'redis-server': 'apt-get install redis-server',
  'prometheus-alertmanager': 'apt-get install prometheus-alertmanager',
  prometheus: 'apt-get install prometheus',
  promtool: 'apt-get install prometheus',
  chromium: 'apt-get install chromium',
  amtool: 'apt-get install prometheus-alertmanager',
  curl: 'apt-get install curl',
  prlimit: 'apt-get install util-linux',
  helm: 'go install helm.sh/helm/v3/cmd/helm@latest'
}

/**
 * Whether a program that npm cannot bring is there. If it is not, the test is skipped with a line that says how to get
 * it, or fails under REQUIRE_ALL=1.
 */
export function needs(t: Test, program: string): boolean {
  try {
    execFileSync('sh', ['-c', `command -v ${program}`], { stdio: 'ignore' })
    return true
  } catch {
    const line = `${program} is not installed: ${packages[program] ?? 'install it'}`
    if (process.env.REQUIRE_ALL === '1') t.fail(line)
    else t.pass(program, { skip: line })
    return false
  }
}
