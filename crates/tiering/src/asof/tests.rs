mod cases;
mod history;
mod oracle;
mod passes;
