// An agent that speaks MCP by the official client library, and knows an address and the token of its platform. It reads
// {url, subject_token} from standard input and prints what happens, a JSON text a line: the issuer that it found, the
// server, its tools, what they answer, each report of progress, and how the last call ended.
import { Client, StreamableHTTPClientTransport, discoverOAuthServerInfo, extractWWWAuthenticateParams }
  from '@modelcontextprotocol/client';
import { text } from 'node:stream/consumers';

const { url, subject_token } = JSON.parse(await text(process.stdin));
const print = (what) => console.log(JSON.stringify(what));

let accessToken;
const authProvider = {
  token: async () => accessToken,
  // Trades the platform's token where the challenge says (RFC 9728, RFC 8414, RFC 8693).
  onUnauthorized: async ({ response, serverUrl }) => {
    const { resourceMetadataUrl } = extractWWWAuthenticateParams(response);
    const found = await discoverOAuthServerInfo(serverUrl, { resourceMetadataUrl });
    print({ issuer: found.authorizationServerUrl, resource: found.resourceMetadata?.resource });
    const answer = await fetch(found.authorizationServerMetadata.token_endpoint, { method: 'POST', body: new URLSearchParams({
      grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange', subject_token,
      subject_token_type: 'urn:ietf:params:oauth:token-type:jwt', resource: found.resourceMetadata.resource,
    }) });
    accessToken = (await answer.json()).access_token;
    if (!accessToken) throw new Error(`no token: ${answer.status}`);
  },
};

const transport = new StreamableHTTPClientTransport(new URL(url), {
  authProvider,
  reconnectionOptions: { maxRetries: 0, initialReconnectionDelay: 1, maxReconnectionDelay: 1, reconnectionDelayGrowFactor: 1 },
});
const client = new Client({ name: 'e2e', version: '1' });
await client.connect(transport);
print({ server: client.getServerVersion().name, session: transport.sessionId !== undefined });
print({ tools: (await client.listTools()).tools.map((tool) => tool.name) });
print({ ticket: (await client.callTool({ name: 'get_ticket', arguments: { id: 'T-1' } })).content[0].text });
print({ debug: (await client.callTool({ name: 'debug', arguments: {} })).content[0].text });
const unlisted = client.request({ method: 'resources/list' }); // listResources would not ask: the server has none
print({ unlisted: await unlisted.then(() => 'served', (err) => err.message) });
const failed = new Promise((_, reject) => { transport.onerror = reject; });
const watch = client.callTool({ name: 'watch_ticket', arguments: { id: 'T-1' } }, { onprogress: print, timeout: 30_000 });
print({ watch: await Promise.race([watch, failed]).then(() => 'answered', () => 'cut off') });
await transport.close();
