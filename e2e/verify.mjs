// Verifies tokens with jose as a resource server would: reads {issuer, jwks_uri, cases: [{token, audience, now}]} from
// standard input, and prints for each case "" if the token was accepted, else the code of the refusal.
import { createRemoteJWKSet, jwtVerify } from 'jose';
import { text } from 'node:stream/consumers';

const { issuer, jwks_uri, cases } = JSON.parse(await text(process.stdin));
const keys = createRemoteJWKSet(new URL(jwks_uri));
const results = [];
for (const { token, audience, now } of cases) {
  const options = {
    issuer, audience, typ: 'at+jwt', algorithms: ['ES256', 'RS256', 'EdDSA'], currentDate: new Date(now),
    requiredClaims: ['sub', 'client_id', 'iat', 'exp', 'jti'],
  };
  results.push(await jwtVerify(token, keys, options).then(() => '', (err) => err.code ?? String(err)));
}
console.log(JSON.stringify(results));
