// Package events holds the JSON schemas (2020-12) of the events of the log. There is one file for each type and
// version, "<name>.v1.schema.json", which describes the whole of a Security Event Token's claims. They are generated:
//
//	go generate ./server/audit
package events

import "embed"

// Schemas are the files, by name.
//
//go:embed *.schema.json
var Schemas embed.FS
