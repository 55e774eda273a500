import t from 'tap'
import { html, markupOf } from '../../src/page/html.js'

t.test('text put into a template stays text, within elements and within quoted attributes', async t => {
  const hostile = `<script>alert("x")</script>' onclick='&amp;`
  t.equal(
    markupOf(html`<p title="${hostile}">${hostile}</p>`),
    '<p title="&lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt;&#39; onclick=&#39;&amp;amp;">' +
      '&lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt;&#39; onclick=&#39;&amp;amp;</p>'
  )
})

t.test('markup put into a template stays markup, alone and in lists', async t => {
  t.equal(markupOf(html`<ul>${[1, 2].map(each => html`<li>${each}</li>`)}</ul>`), '<ul><li>1</li><li>2</li></ul>')
})

t.test('false, null and undefined leave nothing, zero stays', async t => {
  t.equal(markupOf(html`<p>${false}${null}${undefined}${0}${''}</p>`), '<p>0</p>')
})

t.test('an object that merely looks like markup is not taken for it', async t => {
  const forged = JSON.parse('{"markup":"<script>"}')
  t.throws(() => markupOf(html`<p>${forged}</p>`))
})
