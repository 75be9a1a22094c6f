# lme4 and rstanarm, which takes the same folder as the workers in Python do:
#
#     Rscript with_r.R lme4|rstanarm FOLDER
#
# lme4 gives an estimate (REML) and no posterior. rstanarm keeps its own priors: it has no uniform
# one of a scale, and samples means in units of their prior, in which those of the tutorial leave it
# crawling. Its own are wide against the posterior of the means.

started <- proc.time()[["elapsed"]]
arguments <- commandArgs(trailingOnly = TRUE)
package <- arguments[[1]]
folder <- arguments[[2]]
suppressPackageStartupMessages(library(package, character.only = TRUE))
imports <- proc.time()[["elapsed"]] - started

task <- readLines(file.path(folder, "task.json"), warn = FALSE)
number <- function(name) {
  as.integer(sub(paste0(".*\"", name, "\": ([0-9]+).*"), "\\1", task))
}
rows <- read.csv(file.path(folder, "rows.csv"))
rows$group <- factor(rows$group)

fit <- if (package == "lme4") {
  function(seed) lmer(y ~ x1 + (x1 || group), data = rows)
} else {
  function(seed) {
    stan_lmer(
      y ~ x1 + (x1 || group),
      data = rows, seed = seed, chains = number("chains"), iter = 2 * number("draws"), refresh = 0
    )
  }
}

population <- c("mu_alpha", "mu_beta", "sigma_alpha", "sigma_beta", "eps")

# A row a draw, with its chain; for lme4 the estimates, and standard errors where it has them.
table_of <- function(found) {
  if (package == "lme4") {
    scales <- as.data.frame(VarCorr(found))
    scale <- function(name) scales$sdcor[which(scales$var1 == name)]
    mean <- c(fixef(found), scale("(Intercept)"), scale("x1"), sigma(found))
    error <- c(sqrt(diag(as.matrix(vcov(found)))), NA, NA, NA)
    table <- as.data.frame(rbind(mean, error))
  } else {
    draws <- as.array(found)
    names <- dimnames(draws)[[3]]
    picked <- match(
      c(
        "(Intercept)", "x1", "Sigma[group:(Intercept),(Intercept)]", "Sigma[group:x1,x1]", "sigma"
      ),
      names
    )
    stopifnot(!anyNA(picked))
    table <- as.data.frame(apply(draws[, , picked], 3, as.vector))
    table[, 3:4] <- sqrt(table[, 3:4])
  }
  table <- setNames(table, population)
  if (package == "rstanarm") table$chain <- rep(seq_len(dim(draws)[[2]]), each = dim(draws)[[1]])
  table
}

calls <- character()
for (n in seq_len(1 + number("again")) - 1) {
  started <- proc.time()[["elapsed"]]
  found <- fit(number("seed") + n)
  seconds <- proc.time()[["elapsed"]] - started
  write.csv(table_of(found), file.path(folder, sprintf("draws-%d.csv", n)), row.names = FALSE)
  calls <- c(calls, sprintf(
    "{\"kind\": \"%s\", \"seconds\": %.4f, \"draws\": \"draws-%d.csv\"}",
    if (n) "again" else "first", seconds, n
  ))
}

# Absent where there is no /proc: then the memory is not known.
status <- if (file.exists("/proc/self/status")) readLines("/proc/self/status") else character()
peak <- sub("VmHWM:\\s*([0-9]+) kB", "\\1", grep("^VmHWM", status, value = TRUE))
writeLines(sprintf(
  "{\"imports\": %.4f, \"cpu\": %.4f, \"peak_mib\": %s, \"calls\": [%s], \"versions\": {\"R\": \"%s\", \"%s\": \"%s\"}}",
  imports, sum(proc.time()[1:2]), if (length(peak)) as.numeric(peak) / 1024 else "null", paste(calls, collapse = ", "),
  getRversion(), package, packageVersion(package)
), file.path(folder, "result.json"))
