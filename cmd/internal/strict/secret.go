package strict

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// The kinds of a Source.
const (
	SourceFile       = "file"
	SourceEnv        = "env"
	SourceCredential = "credential"
)

// Source says where a secret is. The zero Source is nowhere.
type Source struct {
	Kind string // SourceFile, SourceEnv or SourceCredential
	Name string // a path; the name of a variable; the name of a credential
}

// UnmarshalText reads "kind:name".
func (s *Source) UnmarshalText(text []byte) error {
	kind, name, ok := strings.Cut(string(text), ":")
	switch {
	case !ok || name == "":
		return errors.New("has no name")
	case kind == SourceCredential && (strings.ContainsRune(name, '/') || name == "." || name == ".."):
		return errors.New("a credential is named without a path")
	case kind != SourceFile && kind != SourceEnv && kind != SourceCredential:
		return errors.New("is of an unknown kind")
	}
	*s = Source{kind, name}
	return nil
}

// String returns "kind:name".
func (s Source) String() string { return s.Kind + ":" + s.Name }

// Under returns the source with a path that is relative to dir unless it is absolute.
func (s Source) Under(dir string) Source {
	if s.Kind == SourceFile {
		s.Name = Under(dir, s.Name)
	}
	return s
}

// Forget takes what was read from environment variables out of them, so that nothing that this process starts, and no
// listing of its variables, has it.
func Forget(all ...Source) {
	for _, s := range all {
		if s.Kind == SourceEnv {
			_ = os.Unsetenv(s.Name) // it was read, so that it has the name of a variable
		}
	}
}

// Read returns the secret.
func (s Source) Read() ([]byte, error) {
	switch s.Kind {
	case SourceFile:
		return ReadPrivate(s.Name)
	case SourceEnv:
		value := os.Getenv(s.Name)
		if value == "" {
			return nil, fmt.Errorf("the environment variable %s is not set", s.Name)
		}
		return []byte(value), nil
	case SourceCredential:
		dir := os.Getenv("CREDENTIALS_DIRECTORY")
		if dir == "" {
			return nil, errors.New("CREDENTIALS_DIRECTORY is not set; the service manager sets it for credentials")
		}
		return readBounded(filepath.Join(dir, s.Name), 0)
	}
	return nil, errors.New("is not configured")
}

// maxSecret bounds what is read of a file with a secret.
const maxSecret = 64 << 10

// ReadPrivate reads a file that nobody but its owner can read.
func ReadPrivate(path string) ([]byte, error) { return readBounded(path, 0o077) }

// ReadFile reads a file with a secret that the platform has put there, who may let groups read it: a projected token.
func ReadFile(path string) ([]byte, error) { return readBounded(path, 0) }

// readBounded reads a regular file none of whose permission bits are among the forbidden ones. Permissions are those of
// the file that was opened, so that it cannot be exchanged between the check and the reading.
func readBounded(path string, forbidden os.FileMode) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err = f.Stat(); err != nil {
		return nil, err
	}
	if mode := info.Mode().Perm(); mode&forbidden != 0 {
		return nil, fmt.Errorf("%s can be read or written by others than its owner (mode %04o); run chmod 600 on it",
			path, mode)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	if err == nil && len(data) > maxSecret {
		err = fmt.Errorf("%s is larger than %d bytes", path, maxSecret)
	}
	return data, err
}
