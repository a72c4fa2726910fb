package tenant

import (
	"slices"
	"strings"

	"github.com/bursar-sts/bursar/server/fault"
)

// form is what is wrong with the form of a file whose objects have been read as far as they can be.
type form struct {
	problems problems
	bad      []string // the paths of values that are missing from the file's objects because they could not be read
}

// joined adds the mistakes of the file's form to those of meaning in err, so that whoever wrote it hears of both at
// once. A file whose form is wrong stays refused if err is nil. What may only follow from a value that could not be
// read is left out.
func (f *File) joined(err error) error {
	if len(f.form.problems) == 0 {
		return err
	}
	all := slices.Clone(f.form.problems)
	if err != nil {
		e := fault.As(err)
		if e.Kind != fault.Invalid {
			return err
		}
		for _, problem := range e.Problems {
			if !f.explains(problem) {
				all = append(all, problem)
			}
		}
	}
	return invalid("file.malformed", all)
}

// explains reports whether a mistake of meaning may be there only because a value could not be read.
func (f *File) explains(problem string) bool {
	path, _, _ := strings.Cut(problem, ": ")
	return slices.ContainsFunc(f.form.bad, func(bad string) bool {
		object, isKind := strings.CutSuffix(bad, ".kind") // decides what else the object needs
		return within(path, bad) || within(bad, path) || isKind && within(path, object) || f.refers(path, bad) ||
			follows(path, bad)
	})
}

// referring are the fields of clients and policies that name something, and the section that it is in.
var referring = map[string]string{
	"issuer": "issuers", "tool": "tools", "tools": "tools", "actions": "tools", "from": "tools",
	"clients": "clients", "delegates": "clients",
}

// refers reports whether what is wrong at a path may be that it names what could not be read.
func (f *File) refers(path, bad string) bool {
	section, known := referring[lastField(path)]
	if !known || !strings.HasPrefix(path, "clients[") && !strings.HasPrefix(path, "policies[") {
		return false
	}
	if within(bad, section) {
		return slices.Contains([]string{section, "name", "id", "use", "actions"}, lastField(bad))
	}
	objects := map[string]int{"issuers": len(f.Issuers), "clients": len(f.Clients), "tools": len(f.Tools)}
	return !strings.ContainsAny(bad, ".[") && objects[section] == 0 // the section's name may be misspelt
}

// deciding are fields of an upstream that decide what its other fields may say.
var deciding = []string{"url", "in", "scrub", "allow_plaintext", "allow_encoded_slash", "allow_decision_mode"}

// follows reports whether what is wrong at a path of a tool may be that it does not fit what could not be read of the
// same tool.
func follows(path, bad string) bool {
	tool, rest, ok := strings.Cut(path, ".")
	unread, inTool := strings.CutPrefix(bad, tool+".")
	switch {
	case !ok || !inTool || !strings.HasPrefix(tool, "tools["):
		return false
	case unread == "upstream":
		return rest == "discoverable" || rest == "resource"
	case within(unread, "actions"):
		return lastField(rest) == "action"
	}
	return within(rest, "upstream") && within(unread, "upstream") && slices.Contains(deciding, lastField(unread))
}

// lastField returns the field that a path ends with: "actions" of "tools[0].actions[1]".
func lastField(path string) string {
	field, _, _ := strings.Cut(path[strings.LastIndexByte(path, '.')+1:], "[")
	return field
}

// within reports whether a path is another one or lies below it.
func within(path, other string) bool {
	rest, ok := strings.CutPrefix(path, other)
	return ok && (rest == "" || rest[0] == '.' || rest[0] == '[')
}
