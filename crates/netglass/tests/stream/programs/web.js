// A server and its client in one process, with keep-alive.
const http = require('http');
const server = http.createServer((request, response) => response.end('x'.repeat(3000)));
server.listen(0, '127.0.0.1', async () => {
  const agent = new http.Agent({ keepAlive: true });
  for (let i = 0; i < 5; i++) {
    await new Promise((done, fail) => {
      const options = { port: server.address().port, host: '127.0.0.1', agent };
      http.get(options, (answer) => answer.on('data', () => {}).on('end', done)).on('error', fail);
    });
  }
  agent.destroy();
  server.close();
});
