package iidtest

import (
	"bufio"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const adminRoot = "/emulator/v1/"

// adminRoutes are the readings over HTTP, without authorization; doc.go lists
// them.
func (s *Server) adminRoutes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+adminRoot+"topics", s.showTopics)
	mux.HandleFunc("GET "+adminRoot+"topics/{topic...}", s.showTopic)
	mux.HandleFunc("GET "+adminRoot+"tokens/{token}", s.showToken)
	mux.HandleFunc("GET "+adminRoot+"imports", s.showImports)
	mux.HandleFunc("GET "+adminRoot+"web", s.showWeb)
	mux.HandleFunc("GET "+adminRoot+"calls", s.showCalls)
	mux.HandleFunc("GET "+adminRoot+"stats", s.showStats)
	mux.HandleFunc("PUT "+adminRoot+"faults", s.putFaults)
	mux.HandleFunc("GET "+adminRoot+"credentials", s.showCredentials)
	mux.HandleFunc("POST "+adminRoot+"reset", s.postReset)
	return mux
}

func (s *Server) showTopics(w http.ResponseWriter, _ *http.Request) {
	jsonValue(http.StatusOK, map[string]any{"topics": s.Counts()}).Send(w)
}

func (s *Server) showTopic(w http.ResponseWriter, r *http.Request) {
	topic := r.PathValue("topic")
	answer := map[string]any{"topic": topic, "count": s.Count(topic)}
	if r.FormValue("tokens") != "false" {
		answer["tokens"] = emptyIfNil(s.Subscribers(topic))
	}
	jsonValue(http.StatusOK, answer).Send(w)
}

func (s *Server) showToken(w http.ResponseWriter, r *http.Request) {
	token := r.PathValue("token")
	topics := emptyIfNil(s.Subscriptions(token))
	jsonValue(http.StatusOK, map[string]any{"token": token, "topics": topics}).Send(w)
}

func (s *Server) showImports(w http.ResponseWriter, _ *http.Request) {
	jsonValue(http.StatusOK, map[string]any{"imports": emptyIfNil(s.Imports())}).Send(w)
}

func (s *Server) showWeb(w http.ResponseWriter, _ *http.Request) {
	jsonValue(http.StatusOK, map[string]any{"web": s.Pushes()}).Send(w)
}

func (s *Server) showCalls(w http.ResponseWriter, r *http.Request) {
	calls := s.Calls()
	if last, err := strconv.Atoi(r.FormValue("last")); err == nil && last >= 0 {
		calls = calls[max(0, len(calls)-last):]
	}
	jsonValue(http.StatusOK, map[string]any{"calls": emptyIfNil(calls)}).Send(w)
}

func (s *Server) showStats(w http.ResponseWriter, r *http.Request) {
	window, err := time.ParseDuration(r.FormValue("window"))
	if err != nil {
		window = time.Second
	}
	calls := s.Calls()
	jsonValue(http.StatusOK, map[string]any{
		"calls": len(calls), "ops": s.Ops(), "faults": s.FaultCounts(),
		"window": window.String(), "peakOps": peakOps(calls, window),
	}).Send(w)
}

// putFaults takes one plan per line, in text form. A mistake changes nothing.
func (s *Server) putFaults(w http.ResponseWriter, r *http.Request) {
	plans := []Plan{}
	lines := bufio.NewScanner(r.Body)
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		if line == "" {
			continue
		}
		plan, err := ParseFault(line)
		if err != nil {
			badRequest(err.Error()).Send(w)
			return
		}
		plans = append(plans, plan)
	}
	if err := lines.Err(); err != nil {
		badRequest(fmt.Sprintf("read plans: %v", err)).Send(w)
		return
	}
	s.SetFaults(plans...)
	jsonValue(http.StatusOK, map[string]int{"plans": len(plans)}).Send(w)
}

func (s *Server) showCredentials(w http.ResponseWriter, r *http.Request) {
	jsonAnswer(http.StatusOK, s.CredentialsJSON("http://"+r.Host)).Send(w)
}

func (s *Server) postReset(w http.ResponseWriter, _ *http.Request) {
	s.Reset()
	jsonAnswer(http.StatusOK, []byte("{}")).Send(w)
}

// emptyIfNil makes JSON of it [] instead of null.
func emptyIfNil[T any](list []T) []T { return append([]T{}, list...) }
