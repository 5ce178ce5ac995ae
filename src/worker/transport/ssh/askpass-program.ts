/** What ssh starts to ask for a password: passes the question on over a socket, and prints the answer for ssh alone. */
import { connect } from 'node:net';
import { text } from 'node:stream/consumers';

const [socketPath = '', type = '', prompt = ''] = process.argv.slice(2);
const socket = connect(socketPath);
socket.end(JSON.stringify({ prompt, type }));
const { answer } = JSON.parse(await text(socket)) as { answer?: string };
if (answer === undefined) process.exitCode = 1;
else process.stdout.write(`${answer}\n`);
