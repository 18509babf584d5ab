// A CONNECT proxy in the place of DNS: it leads the names of the tests to ports of this machine,
// and nothing else anywhere. TLS passes through it untouched, so that clients and browser use the
// real names, the real port 443 and the real checks of certificates.

import { once } from 'node:events';
import http from 'node:http';
import net from 'node:net';

// Starts one. `ports` is asked for the port of a `host:port`.
export async function startProxy(ports) {
  const open = new Set();
  let isHeld = false;
  const server = http.createServer((_, response) => response.writeHead(403).end());
  server.on('connect', (request, client, head) => {
    const port = ports(request.url);
    client.on('error', () => client.destroy());
    if (port === undefined) return client.end('HTTP/1.1 502 Bad Gateway\r\n\r\n');
    const upstream = net.connect(port, '127.0.0.1');
    upstream.on('connect', () => client.write('HTTP/1.1 200 OK\r\n\r\n'));
    upstream.on('data', (bytes) => client.write(bytes));
    upstream.on('end', () => client.end());
    upstream.on('error', () => client.destroy());
    upstream.on('close', () => {
      open.delete(upstream);
      client.destroy();
    });
    client.on('close', () => upstream.destroy());
    upstream.write(head);
    client.pipe(upstream);
    open.add(upstream);
    if (isHeld) upstream.pause();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    // A slow network: requests arrive, and answers wait until they are released.
    hold() {
      isHeld = true;
      for (const upstream of open) upstream.pause();
    },
    release() {
      isHeld = false;
      for (const upstream of open) upstream.resume();
    },
    // Ends every connection; clients make new ones.
    cut() {
      for (const upstream of open) upstream.destroy();
    },
    close() {
      server.close();
      this.cut();
    },
  };
}
