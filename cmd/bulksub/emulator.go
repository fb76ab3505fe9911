package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/bulksub/bulksub/iidclient/iidtest"
)

type emulatorFlags struct {
	listen, url, credentials, serverKey string
	anyBearer                           bool
	mix                                 iidtest.Mix // of tokens that do not simply live
	renew                               share
	apps, faults                        []string
	quota                               float64
	quotaPerToken                       bool
	latency, tokenLife                  time.Duration
}

func emulatorCommand() *cobra.Command {
	var f emulatorFlags
	cmd := &cobra.Command{
		Use:   "emulator",
		Short: "Run the stand-in for the Instance ID service and its successor, with faults on request",
		Long: `Run the stand-in for the Instance ID service and its successor. It is as strict as the real services.
Both share one memory, which you can read (GET /emulator/v1/topics, /emulator/v1/topics/TOPIC,
/emulator/v1/tokens/TOKEN, /emulator/v1/imports, /emulator/v1/stats).

Give a client the credentials file and the address:

  bulksub emulator --write-credentials emulator.json &
  bulksub subscribe --endpoint http://127.0.0.1:8899 --credentials emulator.json --topic news --csv tokens.csv

A fault is ` + iidtest.FaultSyntax + `
` + faultHelp(),
		Args: noWords,
		RunE: func(cmd *cobra.Command, _ []string) error { return emulate(cmd, f) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.listen, "listen", "127.0.0.1:8899", "`ADDRESS` to listen on")
	flags.StringVar(&f.url, "url", "", "`URL` under which clients reach it, for the credentials file (default: from --listen)")
	flags.StringVar(&f.credentials, "write-credentials", "", "write a service account `FILE` for clients")
	flags.StringVar(&f.serverKey, "server-key", "", "accept this `KEY` in the old key= form")
	flags.BoolVar(&f.anyBearer, "any-bearer", false, "accept any access token, for clients that have a static one")
	flags.Var((*share)(&f.mix.Dead), "dead", "share of tokens that are NOT_FOUND")
	flags.Var((*share)(&f.mix.Invalid), "invalid", "share of tokens that are INVALID_ARGUMENT")
	flags.Var((*share)(&f.mix.OtherProject), "other-project", "share of tokens that are PERMISSION_DENIED")
	flags.Var((*share)(&f.mix.TooMany), "too-many-topics", "share of tokens that are TOO_MANY_TOPICS")
	flags.Var((*share)(&f.mix.Unknown), "unknown", "share of tokens that are "+iidtest.UnknownCode+", an unknown code")
	flags.Var((*share)(&f.mix.Poison), "poison", "share of tokens for which the service refuses the whole call, without naming the token")
	flags.Var((*share)(&f.mix.Transient), "transient", "share of tokens that are INTERNAL at first")
	flags.IntVar(&f.mix.Tries, "tries", 1, "how often a transient token fails")
	flags.Uint64Var(&f.mix.Seed, "seed", 0, "`NUMBER` that decides which tokens these are")
	flags.StringArrayVar(&f.apps, "app", nil, "bundle `ID` of an app whose APNs tokens can be imported, with /sandbox for those of its sandbox; can be given again (default: every app)")
	flags.Var(&f.renew, "renew", "share of web tokens that get another token when they are refreshed")
	flags.StringArrayVar(&f.faults, "fault", nil, "a `FAULT`; can be given again")
	flags.Float64Var(&f.quota, "quota", 0, "token operations per second; 0: no quota")
	flags.BoolVar(&f.quotaPerToken, "quota-per-token", false, "turn away single tokens rather than whole calls")
	flags.DurationVar(&f.latency, "latency", 0, "time that every call takes")
	flags.DurationVar(&f.tokenLife, "token-life", time.Hour, "how long an access token is valid")
	return cmd
}

func faultHelp() string {
	var b strings.Builder
	for _, name := range iidtest.FaultNames() {
		fmt.Fprintf(&b, "  %-16s %s\n", name[0], name[1])
	}
	return b.String()
}

func (f emulatorFlags) config() (iidtest.Config, error) {
	config := iidtest.Config{
		Fates:     f.mix.Fate,
		Quota:     iidtest.Quota{Rate: f.quota, PerToken: f.quotaPerToken},
		Latency:   iidtest.Latency{Fixed: f.latency},
		Web:       iidtest.Web{Renew: float64(f.renew), Seed: f.mix.Seed},
		AnyBearer: f.anyBearer,
		ServerKey: f.serverKey,
		TokenLife: f.tokenLife,
	}
	for _, text := range f.apps {
		id, sandbox := strings.CutSuffix(text, "/sandbox")
		config.Import.Apps = append(config.Import.Apps, iidtest.App{BundleID: id, Sandbox: sandbox})
	}
	for _, text := range f.faults {
		plan, err := iidtest.ParseFault(text)
		if err != nil {
			return config, &usageError{err}
		}
		config.Faults = append(config.Faults, plan)
	}
	return config, nil
}

// replaceCredentials writes the file, over that of an earlier stand-in but over no
// other.
func replaceCredentials(path string, text []byte) error {
	var before, now struct {
		ClientEmail string `json:"client_email"`
	}
	old, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return writeNew(path, text)
	}
	if err != nil {
		return err
	}
	if json.Unmarshal(old, &before) != nil || json.Unmarshal(text, &now) != nil || before != now {
		return fmt.Errorf("%s exists, and does not hold the credentials of a stand-in; name another file", path)
	}
	return os.WriteFile(path, text, 0o600)
}

func emulate(cmd *cobra.Command, f emulatorFlags) error {
	config, err := f.config()
	if err != nil {
		return err
	}
	server, err := iidtest.Listen(f.listen, config)
	if err != nil {
		return &configError{fmt.Errorf("listen on %s: %w", f.listen, err)}
	}
	defer server.Close()
	url := f.url
	if url == "" {
		url = server.URL
	}
	if f.credentials != "" {
		if err := replaceCredentials(f.credentials, server.CredentialsJSON(url)); err != nil {
			return &configError{err}
		}
	}
	fmt.Fprintf(cmd.OutOrStdout(), "listening at %s; who is subscribed: %s/emulator/v1/topics\n", url, url)
	s := signalsOf(cmd.Context())
	select {
	case <-s.stop:
		return nil
	case <-cmd.Context().Done():
		return cmd.Context().Err()
	}
}
