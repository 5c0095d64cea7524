# The documentation site. Included by the Makefile.

# Stamp: when .venv had the tools that build it, the extra "docs" of pyproject.toml.
SITE_TOOLS := $(VENV)/.site-tools

.PHONY: docs docs-serve

# A notice of the theme's authors about the future of mkdocs is none of ours.
export NO_MKDOCS_2_WARNING := 1

docs: $(BUILT) $(SITE_TOOLS) ## build the documentation into target/site; a warning is an error
	$(BIN)/mkdocs build --strict --quiet
	@echo '$(CURDIR)/target/site/index.html'

docs-serve: $(BUILT) $(SITE_TOOLS) ## show the documentation at http://127.0.0.1:8000, and build it again at each change
	$(BIN)/mkdocs serve --strict --dev-addr 127.0.0.1:8000

$(SITE_TOOLS): pyproject.toml | $(TOOLS)
	$(BIN)/pip install $(call extra,docs)
	@touch $@
