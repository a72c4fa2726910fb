package token

import "strings"

// ClientIssuer stands where subjects name their trusted issuer, in the subjects of our own clients. No trusted issuer
// may have this name.
const ClientIssuer = "client"

// ClientSubject returns the sub of a client that acts as itself, and of an actor: "client:<id>".
func ClientSubject(id string) string { return Subject(ClientIssuer, id) }

// Subject returns the sub of somebody for whom a client acts: "<trusted issuer's name>:<its sub>". The name has no
// colon, so that no two subjects have one sub.
func Subject(issuer, sub string) string { return issuer + ":" + sub }

// SplitSubject takes a sub of ours apart. Of a client, issuer is ClientIssuer and sub the client's id. ok is false for
// a text without a colon, which is no sub of ours; issuer is then all of it.
func SplitSubject(s string) (issuer, sub string, ok bool) { return strings.Cut(s, ":") }
