package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/bursar-sts/bursar/clients/operator"
)

func (p *program) secretCommand() *cobra.Command {
	return group("secret", "Manage the secrets of a tenant's vault, which the shim puts on calls and nobody reads",
		p.secretPutCommand(), p.secretTestCommand(), p.secretActivateCommand(),
		p.secretChangeCommand("rollback", "Let calls use the version again that was active before",
			(*operator.Client).RollbackSecret),
		p.secretChangeCommand("disable", "Refuse every call that needs the secret, at once",
			(*operator.Client).DisableSecret),
		p.secretChangeCommand("enable", "Let calls use a disabled secret again", (*operator.Client).EnableSecret),
		p.secretListCommand(), p.secretDestroyCommand(), p.secretShredCommand())
}

// onSecret returns a command about one secret, and perhaps one version of it.
func (p *program) onSecret(use, short string, most int,
	do func(ctx context.Context, c *operator.Client, tenant, name string, version int, asJSON bool) error,
) *cobra.Command {
	var conn *connection
	var asJSON *bool
	cmd := command(use, short, cobra.RangeArgs(1, most), func(ctx context.Context, args []string) error {
		tenant, name, err := pair(args[:1])
		if err != nil {
			return err
		}
		version := 0
		if len(args) > 1 {
			if version, err = versionOf(args[1]); err != nil {
				return err
			}
		}
		client, err := conn.open()
		if err != nil {
			return err
		}
		return whichSecrets(tenant, do(ctx, client, tenant, name, version, *asJSON))
	})
	conn, asJSON = p.connect(cmd), jsonFlag(cmd)
	return cmd
}

func versionOf(text string) (int, error) {
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		return 0, usage("a version is a number, as in: bursar secret activate acme/crm-key 2")
	}
	return n, nil
}

// whichSecrets says where to see what there is, if something was not found.
func whichSecrets(tenant string, err error) error {
	problem, ok := errors.AsType[*operator.Problem](err)
	if !ok || problem.Code() != operator.CodeNotFound {
		return err
	}
	f := explainProblem(problem)
	f.hints = []string{"what there is: bursar secret list " + tenant}
	return f
}

func (p *program) secretChangeCommand(verb, short string,
	change func(c *operator.Client, ctx context.Context, tenant, name string) (*operator.SecretChange, error),
) *cobra.Command {
	return p.onSecret(verb+" TENANT/NAME", short, 1,
		func(ctx context.Context, c *operator.Client, tenant, name string, _ int, asJSON bool) error {
			done, err := change(c, ctx, tenant, name)
			if err != nil {
				return err
			}
			return p.tellChange(tenant, done, asJSON)
		})
}

func (p *program) secretActivateCommand() *cobra.Command {
	var expect string
	cmd := p.onSecret("activate TENANT/NAME [VERSION] [--expect VERSION]",
		"Let calls use a version: by default the newest that is staged", 2,
		func(ctx context.Context, c *operator.Client, tenant, name string, version int, asJSON bool) error {
			choice := operator.SecretChoice{Version: version}
			var err error
			if choice.Expect, err = expected(expect); err != nil {
				return err
			}
			done, err := c.ActivateSecret(ctx, tenant, name, choice)
			if err != nil {
				return err
			}
			return p.tellChange(tenant, done, asJSON)
		})
	expectFlag(cmd, &expect)
	return cmd
}

func expectFlag(cmd *cobra.Command, expect *string) {
	cmd.Flags().StringVar(expect, "expect", "", "refuse unless this version is active now, or none")
}

// expected reads the flag --expect.
func expected(text string) (int, error) {
	switch text {
	case "":
		return 0, nil
	case "none":
		return -1, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		return 0, usage(`--expect takes the number of a version, or "none"`)
	}
	return n, nil
}

func (p *program) secretTestCommand() *cobra.Command {
	var trial operator.SecretTrial
	cmd := p.onSecret("test TENANT/NAME [VERSION] [--tool TOOL]",
		"Make the probe of a tool with a version: by default the newest that is staged, or else the active one", 2,
		func(ctx context.Context, c *operator.Client, tenant, name string, version int, asJSON bool) error {
			trial.Version = version
			done, err := c.TestSecret(ctx, tenant, name, trial)
			if err != nil {
				return err
			}
			if asJSON {
				err = p.printJSON(done)
			}
			text := fmt.Sprintf("%s version %d: tool %s was answered %d", name, done.Version.Version, done.Tool, done.Status)
			switch {
			case err != nil:
				return err
			case !done.Passed:
				return &failure{code: exitRefused, text: text + ", which its probe does not expect",
					hints: []string{"the value may be wrong, or not known there yet; calls do not use a version until it is active"}}
			case !asJSON:
				_, err = fmt.Fprintln(p.out, harmless("passed: "+text))
			}
			return err
		})
	cmd.Flags().StringVar(&trial.Tool, "tool", "", "the tool whose probe is made, if several use the secret")
	return cmd
}

func (p *program) secretDestroyCommand() *cobra.Command {
	var end operator.SecretEnd
	var all bool
	cmd := p.onSecret("destroy TENANT/NAME (VERSION | --all [--force])",
		"Make a value irretrievable: of one version, or of all", 2,
		func(ctx context.Context, c *operator.Client, tenant, name string, version int, asJSON bool) error {
			if all == (version != 0) {
				return usage("give the number of a version, or --all",
					"to stop a secret from being used, without losing it: bursar secret disable "+tenant+"/"+name)
			}
			if end.Force && !all {
				return usage("--force goes with --all")
			}
			end.Version = version
			done, err := c.DestroySecret(ctx, tenant, name, end)
			if err != nil {
				return err
			}
			return p.tellChange(tenant, done, asJSON)
		})
	cmd.Flags().BoolVar(&all, "all", false, "every version; the name stays, and its numbers go on")
	cmd.Flags().BoolVar(&end.Force, "force", false, "although a tool puts the secret on its calls")
	return cmd
}

func (p *program) secretShredCommand() *cobra.Command {
	var conn *connection
	var asJSON *bool
	var confirm string
	cmd := command("shred TENANT --confirm TENANT",
		"Destroy all secrets of a tenant with the data keys that seal them", cobra.ExactArgs(1),
		func(ctx context.Context, args []string) error {
			if confirm != args[0] {
				return usage("every secret of the tenant is lost for good; confirm with --confirm " + args[0])
			}
			client, err := conn.open()
			if err != nil {
				return err
			}
			done, err := client.ShredSecrets(ctx, args[0], confirm)
			switch {
			case err != nil:
				return err
			case *asJSON:
				return p.printJSON(done)
			}
			_, err = fmt.Fprintf(p.out, "shredded %d secrets of %s; a backup that was made before still has them\n",
				done.Secrets, harmless(args[0]))
			return err
		})
	conn, asJSON = p.connect(cmd), jsonFlag(cmd)
	cmd.Flags().StringVar(&confirm, "confirm", "", "the tenant's name once more")
	return cmd
}

// orVault gives the command that rotates keys the flag --vault.
func (p *program) orVault(rotate *cobra.Command) *cobra.Command {
	var vault bool
	others, flags := rotate.RunE, rotate.Flags()
	flags.BoolVar(&vault, "vault", false, "the data key of the secrets; they are sealed anew, and calls go on")
	rotate.RunE = func(cmd *cobra.Command, args []string) error {
		if !vault {
			return others(cmd, args)
		}
		if err := p.rotateVault(cmd, args); err != nil {
			return &ran{err}
		}
		return nil
	}
	return rotate
}

func (p *program) rotateVault(cmd *cobra.Command, args []string) error {
	flags := cmd.Flags()
	if len(args) != 1 || flags.Changed("platform") || flags.Changed("log") || flags.Changed("alg") {
		return usage("--vault goes with a tenant, and with none of --alg, --log and --platform")
	}
	conn := connection{program: p, server: flags.Lookup("server").Value.String(),
		tokenFile: flags.Lookup("token-file").Value.String()}
	client, err := conn.open()
	if err != nil {
		return err
	}
	key, err := client.RotateVaultKey(cmd.Context(), args[0])
	switch {
	case err != nil:
		return err
	case flags.Lookup("json").Value.String() == "true":
		return p.printJSON(key)
	}
	_, err = fmt.Fprintf(p.out, "data key %d seals the secrets of %s; %d of %d are sealed with it, and calls go on\n",
		key.Version, harmless(args[0]), key.Secrets-key.Left, key.Secrets)
	return err
}

// tellChange prints what came of a change.
func (p *program) tellChange(tenant string, done *operator.SecretChange, asJSON bool) error {
	for _, warning := range done.Warnings {
		p.say("warning", "33", warning)
	}
	if len(done.Secret.Unbound) > 0 && done.Changed {
		p.say("warning", "33", "calls of "+strings.Join(done.Secret.Unbound, ", ")+" are refused: they go where the "+
			"secret may not go; compare upstream.url and inject of the tool with --host and --inject")
	}
	if asJSON {
		return p.printJSON(done)
	}
	_, err := fmt.Fprintln(p.out, harmless(changeText(tenant, done)))
	return err
}

// changeText says in one or two lines what is so after a change.
func changeText(tenant string, done *operator.SecretChange) string {
	s := done.Secret
	at := tenant + "/" + s.Name
	text := fmt.Sprintf("%s is %s", at, s.State)
	for _, n := range s.Versions {
		if n.Version == done.Version {
			text = fmt.Sprintf("%s version %d is %s (fingerprint %s)", at, n.Version, n.State, n.Fingerprint)
		}
	}
	if !done.Changed {
		text += " already"
	}
	switch {
	case s.State == operator.SecretDisabled:
		return text + "; every call that needs it is refused until: bursar secret enable " + at
	case done.Version != 0 && s.Versions[0].Version == done.Version && s.Versions[0].State == operator.SecretStaged:
		return text + "; calls use it after: bursar secret activate " + at + " " + strconv.Itoa(done.Version)
	case s.Active != 0 && s.Active != done.Version:
		return text + "; calls use version " + strconv.Itoa(s.Active)
	}
	return text
}
