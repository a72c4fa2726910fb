// Package operator is the admin API as seen from outside: its wire types, and an HTTP client with one method per call.
// The bursar command line and the server's own handlers use the same types. It is a public API.
//
// # Conventions
//
// Every path below is relative to {server}/admin/v1, where server is an origin: the server's base_url, or the origin of
// admin.listen where the admin API has a listener of its own. {tenant}, {client} and every id of an object are slugs
// (scopes.CheckSlug).
//
// A call carries "Authorization: Bearer <operator token>" (RFC 6750 §2.1); a token in a query or body is not looked
// at. OpenAPI needs no token. Whether a tenant exists is told only to operators who may read it: for everybody else
// an unknown tenant and another one's tenant are both not_found.
//
// A Log is read outside the admin API, below its own URL, with the same token and the same refusals.
//
// Bodies are JSON (application/json), except that a tenant file may also be YAML. Unknown members of a request are
// refused, unknown members of a response are to be ignored. Times are RFC 3339 strings in UTC, durations are strings
// as time.ParseDuration reads them ("90m"). Lists are {"items": [...]}, never null, in the order of their ids. Every
// response says "Cache-Control: no-store".
//
// # Errors
//
// A refusal is an application/problem+json document (RFC 9457), see Problem. Each code has one status:
//
//	400 invalid_request      malformed parameter, body or header
//	401 unauthenticated      no token, or one that is not valid (any more); with a WWW-Authenticate: Bearer challenge
//	403 forbidden            the operator's role does not allow the call
//	404 not_found            no such tenant, object, key, secret, operator or path
//	405 method_not_allowed   with an Allow header
//	409 conflict             lost to a concurrent change, contradicts what exists, or came too early
//	410 gone                 the log was pruned: first is the index of the first event that it still has
//	413 too_large            body over the limit of the route (1 MiB for a tenant file, 64 KiB elsewhere)
//	422 invalid              a document with mistakes: problems lists all of them, each with its path
//	429 too_many_requests    the token is wrong, and too many wrong ones came from this address; or as many as may do
//	                         so read the events of the log; with Retry-After
//	500 internal             nothing more is told
//	503 unavailable          the store or the log did not confirm, with Retry-After: the change was made whole or not
//	                         at all, and which of the two cannot be told
//
// Every call can end in 401, 403, 404, 405, 429, 500 and 503; the methods name the others.
//
// # Roles
//
// A tenant's operators have one Role: admin (everything in the tenant), editor (apply, client secrets, everything with
// secrets of the vault but to destroy them, read the configuration), keeper (put, test and list secrets of the vault),
// responder (revoke, enable, disable secrets of the vault, read the configuration), auditor (read the configuration and
// the log). "Any role" of a GET about the configuration is every one but keeper.
// Platform operators act on every tenant: as admin they do everything, as auditor they read the configuration and
// every log. Reading the configuration means every GET except events and decisions, which are of the log, as is what
// Explain tells. The operator of the server's admin.token file is a platform admin; it has no id and is not listed.
package operator
