package audit

import (
	"cmp"
	"fmt"
	"os"
	"strings"
	"testing"
)

// page is docs/events.md.
func page(t *testing.T) []byte {
	t.Helper()
	head, err := os.ReadFile("testdata/events.md")
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	b.Write(head)
	b.WriteString("| event | recorded when | who waits for it |\n|---|---|---|\n")
	sections := sections()
	for _, k := range sections {
		fmt.Fprintf(&b, "| [`%s`](#%s) | %s | %s |\n", k.name, strings.ReplaceAll(k.name, ".", ""), k.when,
			cmp.Or(k.waits, "nobody"))
	}
	for _, k := range sections {
		fmt.Fprintf(&b, "\n## %s\n\n%s\n\n| member | there | |\n|---|---|---|\n", k.name, k.story())
		k.rows(&b)
	}
	return []byte(b.String())
}

const anyChange = "admin.object.verb"

// sections are the kinds in order, those of changes as one.
func sections() []kind {
	var all []kind
	for _, k := range kinds {
		if !strings.HasPrefix(k.name, "admin.") {
			all = append(all, k)
		}
	}
	change := *kindOf["admin.client-secret.create"]
	change.name = anyChange
	change.body = "client_id? change(object id? before? after? fields?) count?" + memOperator + memRequest
	return append(all, change)
}

// story says in words what the schema says of the outcome.
func (k *kind) story() string {
	s := "Outcomes: " + quoted(k.ends()) + "."
	if codes := strings.Fields(k.reasons); len(codes) > 0 {
		s += " Reasons: " + quoted(codes) + "."
	}
	if k.name != anyChange {
		return s + " [Schema](events/" + k.name + ".v1.schema.json)."
	}
	var names []string
	for _, k := range kinds {
		if strings.HasPrefix(k.name, "admin.") {
			names = append(names, k.name)
		}
	}
	return s + "\n\nThere are " + quoted(names) + ".\n\n" +
		"A change that is too large for one commit has one event for all objects of a kind, with their `count` and " +
		"without\n`id`. Its digests are over the lines `<id> <digest>\\n` of all of them, in order."
}

func quoted[T ~string](words []T) string {
	all := make([]string, len(words))
	for i, w := range words {
		all[i] = "`" + string(w) + "`"
	}
	return strings.Join(all, ", ")
}

// rows lists the members, in the order of forms.
func (k *kind) rows(b *strings.Builder) {
	says := map[string]string{}
	for _, m := range k.members() {
		if m.parts == nil {
			says[m.name] = when(m.mark)
		}
		for _, part := range m.parts {
			says[m.name+"."+part.name] = when(cmp.Or(part.mark, m.mark))
		}
	}
	for _, f := range forms {
		if there := says[f.path]; there != "" {
			fmt.Fprintf(b, "| `%s` | %s | %s |\n", f.path, there, f.schema["description"])
		}
	}
}

func when(mark byte) string {
	switch mark {
	case '!':
		return "if allowed"
	case '?':
		return "if known"
	}
	return "always"
}
