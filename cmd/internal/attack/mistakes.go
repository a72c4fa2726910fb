package attack

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Mistakes are what is wrong with a profile.
type Mistakes struct {
	File string
	List []string
}

func (m *Mistakes) Error() string {
	if len(m.List) == 1 {
		return "the profile " + m.File + " has a mistake"
	}
	return fmt.Sprintf("the profile %s has %d mistakes", m.File, len(m.List))
}

// add adds what is not there already: YAML lets parts be used twice.
func (m *Mistakes) add(format string, args ...any) {
	if text := fmt.Sprintf(format, args...); !slices.Contains(m.List, text) {
		m.List = append(m.List, text)
	}
}

// addYAML adds what the decoder complains of, in words that do not need this program's source. It quotes values, which
// may be secrets; they are left out.
func (m *Mistakes) addYAML(err error) {
	wrong, ok := err.(*yaml.TypeError)
	if !ok {
		m.add("%s", strings.TrimPrefix(err.Error(), "yaml: "))
		return
	}
	for _, text := range wrong.Errors {
		if f := unknownField.FindStringSubmatch(text); f != nil {
			m.add("%s: %s is not a field of %s", f[1], f[2], part(f[3]))
		} else if f := wrongKind.FindStringSubmatch(text); f != nil {
			m.add("%s: %s stands where %s belongs", f[1], kinds[f[2]], goal(f[3]))
		} else {
			line, _, _ := strings.Cut(text, ":")
			m.add("%s cannot be read", line)
		}
	}
}

var (
	unknownField = regexp.MustCompile(`^(line \d+): field (.+) not found in type \S*\.(\w+)$`)
	wrongKind    = regexp.MustCompile(`(?s)^(line \d+): cannot unmarshal !!(\w+) .*into (\S+)$`)
)

// part names a part of a profile by its type here.
func part(name string) string {
	switch name {
	case "Profile":
		return "a profile"
	case "Client", "Request", "Issuer":
		return map[string]string{"Client": "a client", "Request": "a request", "Issuer": "an issuer"}[name]
	case "Source":
		return "a source of tokens"
	case "Endpoints":
		return "server"
	}
	return strings.ToLower(name)
}

// kinds are YAML's kinds of values.
var kinds = map[string]string{"str": "a text", "int": "a number", "float": "a number", "bool": "true or false",
	"seq": "a list", "map": "an object", "null": "nothing", "timestamp": "a date"}

// goal is the kind of value that a type here is read from.
func goal(name string) string {
	switch {
	case name == "string":
		return "a text"
	case name == "int":
		return "a number"
	case name == "bool":
		return "true or false"
	case name == "time.Duration":
		return "a duration such as 5m"
	case strings.HasPrefix(name, "[]"):
		return "a list"
	}
	return "an object"
}
