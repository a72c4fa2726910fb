package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/spf13/cobra"

	"github.com/bursar-sts/bursar/cmd/internal/config"
)

func (p *program) initCommand() *cobra.Command {
	var dir string
	var in config.Initial
	cmd := command("init [--dir DIR] [--base-url URL] [--listen ADDR] [--store URL]",
		"Write a new configuration, master key and operator token", cobra.NoArgs,
		func(context.Context, []string) error {
			path, err := config.Init(dir, in)
			if errors.Is(err, fs.ErrExist) {
				return &failure{code: exitRefused, text: err.Error(),
					hints: []string{"nothing was written; choose another directory with --dir"}}
			}
			if err != nil {
				return err
			}
			fmt.Fprintf(p.out, "wrote %s, and beside it master.key and admin.token\n", path)
			fmt.Fprintln(p.out, "keep a copy of master.key apart from backups: the store cannot be used without it")
			fmt.Fprintf(p.out, "next: bursar serve --config %s\n", shellWord(path))
			return nil
		})
	cmd.Flags().StringVar(&dir, "dir", ".", "directory to write to; made if there is none")
	cmd.Flags().StringVar(&in.BaseURL, "base-url", "",
		"origin under which the server is reached (default: the listener, if it is on loopback)")
	cmd.Flags().StringVar(&in.Listen, "listen", "", "address to listen on (default 127.0.0.1:8080)")
	cmd.Flags().StringVar(&in.Store, "store", "", "bolt:PATH or a Redis URL (default bolt:bursar.db)")
	return cmd
}

// shellWord returns s as one word of a shell.
func shellWord(s string) string {
	isSafe := func(r rune) bool {
		return '0' <= r && r <= '9' || 'A' <= r && r <= 'Z' || 'a' <= r && r <= 'z' || strings.ContainsRune("/.:@%+=,-_", r)
	}
	if strings.TrimFunc(s, isSafe) == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

func (p *program) configCommand() *cobra.Command {
	return group("config", "Look at the configuration of the server", p.configCheckCommand())
}

// checked is what config check --json prints.
type checked struct {
	File     string    `json:"file"`
	OK       bool      `json:"ok"`
	Mistakes []mistake `json:"mistakes"`
}

type mistake struct {
	Path string `json:"path"`
	Line int    `json:"line,omitempty"`
	Text string `json:"text"`
}

func (p *program) configCheckCommand() *cobra.Command {
	var path string
	var asJSON *bool
	cmd := command("check [--config FILE] [FILE]", "Report every mistake of the configuration and of the files it names",
		cobra.MaximumNArgs(1),
		func(_ context.Context, args []string) error {
			if len(args) == 1 {
				path = args[0]
			}
			_, _, err := openConfig(path)
			found, isMistakes := errors.AsType[*config.Mistakes](err)
			if err != nil && !isMistakes {
				return err
			}
			switch {
			case *asJSON:
				return errors.Join(p.printJSON(report(path, found)), err)
			case err != nil:
				return err
			}
			_, err = fmt.Fprintf(p.out, "%s: ok\n", path)
			return err
		})
	p.configFlag(cmd, &path)
	asJSON = jsonFlag(cmd)
	return cmd
}

// configFlag adds --config to a command that reads the configuration.
func (p *program) configFlag(cmd *cobra.Command, path *string) {
	fallback := cmp.Or(p.env("BURSAR_CONFIG"), config.DefaultFile)
	cmd.Flags().StringVar(path, "config", fallback, "configuration file (or BURSAR_CONFIG)")
}

// openConfig reads the configuration and the secrets that it names.
func openConfig(path string) (*config.Config, *config.Secrets, error) {
	c, s, err := config.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, &failure{code: exitRefused, text: err.Error(),
			hints: []string{"check the path; bursar init --dir DIR writes a new configuration"}}
	}
	return c, s, err
}

func report(path string, found *config.Mistakes) checked {
	c := checked{File: path, OK: found == nil, Mistakes: []mistake{}}
	if found != nil {
		for _, m := range found.List {
			c.Mistakes = append(c.Mistakes, mistake(m))
		}
	}
	return c
}
