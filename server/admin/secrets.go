package admin

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/bursar-sts/bursar/clients"
	"github.com/bursar-sts/bursar/server/audit"
	"github.com/bursar-sts/bursar/server/fault"
	"github.com/bursar-sts/bursar/server/ledger"
	"github.com/bursar-sts/bursar/server/tenant"
)

// CreateSecret makes a new secret for a client that authenticates with one, and returns it in plain, this one time.
// Beyond clients.MaxSecrets the oldest ends.
//
// It is NotFound for an unknown client, and Conflict for one that authenticates in another way. After Unavailable the
// new secret may exist though nobody knows it; asking again is safe, but may end the one in use.
func (s *Service) CreateSecret(ctx context.Context, op Operator, client string) (string, clients.Secret, error) {
	if err := s.allow(ctx, op, WriteSecrets); err != nil {
		return "", clients.Secret{}, err
	}
	var plain string
	var secret clients.Secret
	err := s.change(ctx, op.slug, func() error {
		v, c, err := s.client(ctx, op, client)
		if err != nil {
			return err
		}
		if m := c.Auth.Method; m != clients.MethodSecretBasic && m != clients.MethodSecretPost {
			return fault.New(fault.Conflict, "client.method", "This client does not authenticate with a secret; "+
				"give it auth.method client_secret_basic or client_secret_post first.")
		}
		set, err := secrets(v, client)
		if err != nil {
			return err
		}
		plain, secret = clients.NewSecret(s.cfg.Directory.Now())
		return s.putSecrets(ctx, op, v, set, set.Add(secret), "create", secret.ID)
	})
	if err != nil {
		return "", clients.Secret{}, err
	}
	return plain, secret, nil
}

// Secrets lists a client's valid secrets, the oldest first.
func (s *Service) Secrets(ctx context.Context, op Operator, client string) ([]clients.Secret, error) {
	if err := s.allow(ctx, op, ReadConfig); err != nil {
		return nil, err
	}
	v, _, err := s.client(ctx, op, client)
	if err != nil {
		return nil, err
	}
	set, err := secrets(v, client)
	return set.Secrets, err
}

// DeleteSecret ends one secret. What was issued with it stays valid; Revoke ends that.
func (s *Service) DeleteSecret(ctx context.Context, op Operator, client, id string) error {
	if err := s.allow(ctx, op, WriteSecrets); err != nil {
		return err
	}
	return s.change(ctx, op.slug, func() error {
		v, _, err := s.client(ctx, op, client)
		if err != nil {
			return err
		}
		set, err := secrets(v, client)
		if err != nil {
			return err
		}
		left, found := set.Remove(id)
		if !found {
			return fault.New(fault.NotFound, "secret.unknown", "The client has no such secret.")
		}
		return s.putSecrets(ctx, op, v, set, left, "delete", id)
	})
}

// client returns a client of the operator's tenant as it stands now.
func (s *Service) client(ctx context.Context, op Operator, id string) (*tenant.View, *clients.Client, error) {
	v, err := s.cfg.Directory.Fresh(ctx, op.slug)
	if err != nil {
		return nil, nil, err
	}
	c, ok := v.Clients.Get(id)
	if !ok {
		return nil, nil, fault.New(fault.NotFound, "client.unknown", "The tenant has no such client.")
	}
	return v, c, nil
}

func secrets(v *tenant.View, client string) (clients.SecretSet, error) {
	set := clients.SecretSet{Client: client}
	value, ok := v.Row(tenant.KindSecret, client)
	if !ok {
		return set, nil
	}
	if err := json.Unmarshal(value, &set); err != nil {
		return set, fmt.Errorf("read secrets of client %s: %w", client, err)
	}
	return set, nil
}

// putSecrets replaces a client's secrets, and records which one of them came or went.
func (s *Service) putSecrets(ctx context.Context, op Operator, v *tenant.View, old, next clients.SecretSet,
	verb, id string) error {
	row := ledger.Row{Kind: tenant.KindSecret, ID: next.Client}
	var err error
	if row.Value, err = json.Marshal(next); err != nil {
		return fmt.Errorf("encode secrets: %w", err)
	}
	before, _ := v.Row(tenant.KindSecret, old.Client)
	e := op.event("admin."+objectSecret+"."+verb, audit.Change{Object: objectSecret, ID: id,
		Before: audit.Digest(before), After: audit.Digest(row.Value)})
	e.Body.ClientID = next.Client
	_, err = s.commit(ctx, v, ledger.Change{Put: []ledger.Row{row}}, e)
	return err
}
