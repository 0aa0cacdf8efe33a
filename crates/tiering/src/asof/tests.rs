mod cases;
mod history;
mod offers;
mod oracle;
mod passes;
