package e2e_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// rules are what every tool allows.
const rules = `
      websocket: true
      timeouts: {connect: 5s, header: 3s, idle: 3s}
      allow:
        - {action: items.read, methods: [GET, HEAD, OPTIONS], path: "/v1/items/{id}", query: [fields, tag...]}
        - {action: items.read, methods: [GET, HEAD], path: "/echo/{place}/{form}", query: [q]}
        - {action: items.read, methods: [GET, HEAD], path: "/random/{seed}"}
        - {action: items.read, methods: [GET, HEAD], path: "/status/{code}"}
        - {action: items.read, methods: [GET], path: "/end/{how}"}
        - {action: items.read, methods: [GET], path: "/ws/{how}"}
        - {action: items.write, methods: [POST, PUT, PATCH], path: "/v1/items"}
        - {action: items.write, methods: [DELETE], path: "/v1/items/{id}"}
        - {action: items.write, methods: [POST], path: "/echo/{place}/{form}"}
        - {action: items.write, methods: [POST], path: "/v1/notes", max_body: 1KiB, json: {/visibility: [internal]}}
        - {action: admin.all, methods: [GET, POST], path: "/admin/{rest...}"}
`

// rulesOf returns the rules of a tool: where the key is in the body, every call has one.
func rulesOf(tool string) string {
	kind := map[string]string{"body": "application/json", "form": "application/x-www-form-urlencoded"}[tool]
	if kind == "" {
		return rules
	}
	return fmt.Sprintf(`
      allow:
        - {action: items.write, methods: [POST, PUT], path: "/v1/items", content_types: [%[1]s]}
        - {action: items.write, methods: [POST], path: "/echo/{place}/{form}", content_types: [%[1]s]}
`, kind)
}

// injections are what the tools of acme inject, by the tool's name.
var injections = map[string]string{
	"legacy": `{in: header, name: X-Api-Key, secret: legacy-key}`,
	"bearer": `{in: bearer, secret: legacy-key}`,
	"basic":  `{in: basic, secret: login}`,
	"query":  `{in: query, name: api_key, secret: legacy-key}`,
	"cookie": `{in: cookie, name: session, secret: legacy-key}`,
	"body":   `{in: json, name: /auth/key, secret: legacy-key}`,
	"form":   `{in: form, name: api_key, secret: legacy-key}`,
	"aws":    `{in: sigv4, secret: aws-key, sigv4: {region: eu-central-1, service: execute-api}}`,
	"signed": `{in: hmac, secret: legacy-key, hmac: {header: X-Signature, template: "{method}{path}{timestamp}",
         timestamp_header: X-Timestamp}}`,
	"oauth": `{in: oauth2, secret: client, oauth2: {token_url: "${up}/token"}}`,
}

// tenant returns the file of a tenant, with further tools, which are YAML under tools.
func (w *shimWorld) tenant(slug, more string) string {
	tools := w.tool(slug, "legacy", w.up.URL, injections["legacy"], w.up.CA, rules)
	names := []string{"legacy"}
	if slug == "acme" {
		for _, name := range slices.Sorted(maps.Keys(injections)) {
			if name != "legacy" {
				injection := strings.ReplaceAll(injections[name], "${up}", w.up.URL)
				tools += w.tool(slug, name, w.up.URL, injection, w.up.CA, rulesOf(name))
				names = append(names, name)
			}
		}
		tools += w.tool(slug, "seg", w.up.URL, `{in: path, name: key, secret: legacy-key}`, w.up.CA,
			"\n      allow: [{action: items.read, methods: [GET], path: \"/echo/{place}/{form}/{key}\"}]\n")
		tools += w.tool(slug, "cert", w.mutual.URL, `{in: mtls, secret: cert}`, w.mutual.CA, rules)
		names = append(names, "seg", "cert")
	}
	for line := range strings.Lines(more) {
		if name, ok := strings.CutPrefix(line, "  - name: "); ok {
			names = append(names, strings.TrimSpace(name))
		}
	}
	text := fmt.Sprintf(`apiVersion: bursar/v1
tenant: %[1]s
issuers:
  - {name: cluster, issuer: %[2]q, kind: kubernetes, audiences: [%[3]q], algorithms: [RS256],
     network: {allow_private: true}}
clients:
  - {id: ap-bot, kind: agent, identities: [{issuer: cluster, subject: "system:serviceaccount:prod:ap-bot"}]}
  - {id: other-bot, kind: agent, identities: [{issuer: cluster, subject: "system:serviceaccount:prod:other"}]}
tools:
%[4]spolicies:
`, slug, w.cluster.URL, w.Issuer(slug), tools+more)
	for _, name := range names {
		text += fmt.Sprintf("  - {id: use-%[1]s, clients: [ap-bot, other-bot], tool: %[1]s, ttl: 10m,\n"+
			"     actions: [items.read, items.write, admin.all]}\n", name)
	}
	return text
}

// tool returns a tool of a tenant file; rest is what its upstream has beside URL, injection and network.
func (w *shimWorld) tool(slug, name, url, injection, ca, rest string) string {
	network := "{allow_private: true}"
	if ca != "" {
		network = fmt.Sprintf("{allow_private: true, ca: %q}", ca)
	}
	return fmt.Sprintf(`  - name: %s
    resource: %s
    actions: [items.read, items.write, admin.all]
    upstream:
      url: %s
      inject: [%s]
      network: %s%s`, name, w.resource(slug, name), url, injection, network, rest)
}

func (w *shimWorld) resource(slug, tool string) string { return w.Shim + "/t/" + slug + "/" + tool }
