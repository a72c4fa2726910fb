package main

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/bursar-sts/bursar/clients/operator"
)

// connection are the flags of every command that speaks to the admin API.
type connection struct {
	program   *program
	server    string
	tokenFile string
}

// connect adds the flags to a command.
func (p *program) connect(cmd *cobra.Command) *connection {
	c := &connection{program: p}
	cmd.Flags().StringVar(&c.server, "server", "", "origin of the server (or BURSAR_SERVER)")
	cmd.Flags().StringVar(&c.tokenFile, "token-file", "", "file with an operator token (or BURSAR_TOKEN_FILE)")
	return c
}

// open returns the client of the admin API.
func (c *connection) open() (*operator.Client, error) {
	client, err := c.address()
	if err != nil {
		return nil, err
	}
	path := cmp.Or(c.tokenFile, c.program.env("BURSAR_TOKEN_FILE"))
	if path == "" {
		return nil, usage("an operator token is required",
			"give --token-file, or set BURSAR_TOKEN_FILE; bursar init writes the first one into admin.token")
	}
	client.Token, err = readSecret(path)
	return client, err
}

// address returns a client without a token.
func (c *connection) address() (*operator.Client, error) {
	server := cmp.Or(c.server, c.program.env("BURSAR_SERVER"))
	if server == "" {
		return nil, usage("the address of the server is required",
			"give --server, or set BURSAR_SERVER, such as http://127.0.0.1:8080")
	}
	return &operator.Client{BaseURL: server}, nil
}

// maxInput bounds what is read of a file or of standard input.
const maxInput = operator.MaxFile

// readInput reads a file, or standard input for "-".
func (p *program) readInput(path string) ([]byte, error) {
	if path == "-" {
		return readAll(p.in, "standard input")
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readAll(f, path)
}

func readAll(r io.Reader, name string) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxInput+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if len(data) > maxInput {
		return nil, fmt.Errorf("%s is larger than %d bytes", name, maxInput)
	}
	return data, nil
}

// readSecret reads a file with one secret on one line.
func readSecret(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	data, err := readAll(f, path)
	if err != nil {
		return "", err
	}
	secret := strings.TrimSpace(string(data))
	if secret == "" || strings.ContainsFunc(secret, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return "", fmt.Errorf("%s must hold one secret on one line", path)
	}
	return secret, nil
}
