// Reads an AsyncAPI document from standard input, and says what the official parser has to remark.
import { text } from 'node:stream/consumers'
import parser from '@asyncapi/parser'

const { document, diagnostics } = await new parser.Parser().parse(await text(process.stdin))
for (const { code, message, path } of diagnostics) console.log(`${code}: ${message} at ${path.join('.')}`)
if (!document || diagnostics.length > 0) process.exit(1)
console.log('valid, with nothing to remark')
