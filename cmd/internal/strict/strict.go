// Package strict reads the configuration of a program: YAML in which nothing is passed over, and the files, variables
// and credentials that it names. All mistakes are reported at once, each with its path and line. Nothing secret stands
// in a configuration itself: it names where secrets are.
package strict

import (
	"fmt"
	"path/filepath"
)

// Mistake is one thing to mend.
type Mistake struct {
	Path string // of the field, such as "admin.token_file"; empty for the whole file
	Line int    // in the file, from 1; 0 if unknown
	Text string // what is wrong and what to do
}

// String returns the mistake as "path: text (line N)".
func (m Mistake) String() string {
	s := m.Text
	if m.Path != "" {
		s = m.Path + ": " + s
	}
	if m.Line > 0 {
		s += fmt.Sprintf(" (line %d)", m.Line)
	}
	return s
}

// Mistakes is the error of a file with mistakes.
type Mistakes struct {
	File string
	List []Mistake // in the order of lines
}

// Error counts the mistakes; List has them.
func (m *Mistakes) Error() string {
	if len(m.List) == 1 {
		return m.File + " has a mistake"
	}
	return fmt.Sprintf("%s has %d mistakes", m.File, len(m.List))
}

// Checks gather mistakes of values.
type Checks []Mistake

// Add notes a mistake at a path.
func (c *Checks) Add(path, text string) { *c = append(*c, Mistake{Path: path, Text: text}) }

// Check notes that err, unless nil, is a mistake at a path.
func (c *Checks) Check(path string, err error) {
	if err != nil {
		c.Add(path, err.Error())
	}
}

// Under returns a path that is relative to dir unless it is absolute or empty.
func Under(dir, path string) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(dir, path)
}
